"""Measured prices: kept by provider, whole or not at all, and below what people say themselves."""

from __future__ import annotations

import stat
import threading
from datetime import date

import pytest

from journeybatch.errors import JobError, SpecError, UnknownModel
from journeybatch.pricebook import NAME, Measurement, choose_price, measured_prices, read_book, remember
from journeybatch.records import Price

HERE = "journeyapi.co:443"
THREE = Measurement(3, date(2026, 11, 24), "journeyapi.co", (5, 3, 3))
PRICE = Price(3, 3, "measured on 2026-11-24 at journeyapi.co")


def test_what_was_measured_is_read_back_with_its_date_and_host(tmp_path):
    path = tmp_path / "made" / NAME
    remember(path, HERE, "gpt-4o", THREE)
    assert measured_prices(path, HERE) == {"gpt-4o": PRICE}
    assert read_book(path) == {HERE: {"gpt-4o": THREE}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_price_holds_for_one_provider_only(tmp_path):
    path = tmp_path / NAME
    remember(path, "emulator", "gpt-4o", THREE)
    assert measured_prices(path, HERE) == {}
    assert set(measured_prices(path, "emulator")) == {"gpt-4o"}


def test_a_newer_price_replaces_its_own_and_keeps_all_others(tmp_path):
    path = tmp_path / NAME
    remember(path, HERE, "gpt-4o", THREE)
    remember(path, HERE, "o3", THREE)
    remember(path, "emulator", "gpt-4o", THREE)
    remember(path, HERE, "gpt-4o", Measurement(4, date(2026, 12, 1), "journeyapi.co"))
    assert {name: price.most for name, price in measured_prices(path, HERE).items()} == {"gpt-4o": 4, "o3": 3}
    assert measured_prices(path, "emulator") == {"gpt-4o": PRICE}


def test_two_that_measure_at_once_forget_nothing(tmp_path):
    path = tmp_path / NAME
    threads = [threading.Thread(target=remember, args=(path, HERE, f"m{n}", THREE)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(measured_prices(path, HERE)) == {f"m{n}" for n in range(8)}


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "kept").mkdir()
    link = tmp_path / NAME
    link.symlink_to(tmp_path / "kept" / "book.json")
    remember(link, HERE, "gpt-4o", THREE)
    assert link.is_symlink()
    assert measured_prices(tmp_path / "kept" / "book.json", HERE) == {"gpt-4o": PRICE}


def test_without_a_book_nothing_was_measured(tmp_path):
    assert measured_prices(None, HERE) == measured_prices(tmp_path / NAME, HERE) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "credits: {gpt-4o: 3}",
        '{"h": {"m": 3}}',
        '{"h": {"m": {"credits": 0, "measured_at": "2026-11-24", "source": "h"}}}',
        '{"h": {"m": {"credits": 6, "measured_at": "2026-11-24", "source": "h"}}}',
        '{"h": {"m": {"credits": 2, "measured_at": "yesterday", "source": "h"}}}',
        "\udcff",
    ],
)
def test_a_file_that_is_no_price_book_is_an_error_and_is_not_overwritten(tmp_path, text):
    path = tmp_path / NAME
    data = text.encode("utf-8", "surrogateescape")
    path.write_bytes(data)
    with pytest.raises(SpecError, match="measured prices") as error:
        measured_prices(path, HERE)
    assert str(path) in str(error.value)
    with pytest.raises(SpecError):
        remember(path, HERE, "gpt-4o", THREE)
    assert path.read_bytes() == data


def test_a_book_that_cannot_be_read_or_written_is_said(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(SpecError, match="cannot be read"):
        read_book(tmp_path / NAME)
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="cannot be remembered"):
        remember(tmp_path / "file" / NAME, HERE, "gpt-4o", THREE)


def test_the_job_comes_before_the_config_before_the_measured_before_the_list():
    measured = {"gpt-4o": PRICE}
    assert choose_price("gpt-4o", {"gpt-4o": 2}, {"gpt-4o": 4}, measured).source == "the job's credits"
    assert choose_price("gpt-4o", {}, {"gpt-4o": 4}, measured) == Price(4, 4, "your config's credits")
    assert choose_price("gpt-4o", {"o3": 1}, {"o3": 1}, measured) == PRICE
    assert choose_price("gpt-4o", {}, {}, {}).most == 5


def test_a_measured_model_needs_no_listing_and_an_unmeasured_one_does():
    assert choose_price("new", {}, {}, {"new": PRICE}) == PRICE
    with pytest.raises(UnknownModel):
        choose_price("new", {}, {}, {"other": PRICE})
