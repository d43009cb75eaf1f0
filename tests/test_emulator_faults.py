import json
import re
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.emulator import Faults, FaultsError, Lognormal, Outage, Uniform, read_faults
from journeybatch.emulator.faults import FIELDS, KINDS


def test_nothing_goes_wrong_unless_told():
    assert {Faults().draw(number).kind for number in range(100)} == {None}
    assert not Faults().needs_bytes


@settings(deadline=None, max_examples=40)
@given(st.integers(), st.integers(1, 10_000), st.floats(0, 1))
def test_a_draw_depends_on_seed_and_number_alone(seed, number, rate):
    assert Faults.mixed(rate, seed).draw(number) == Faults.mixed(rate, seed).draw(number)


def test_another_seed_draws_other_faults():
    draws = [[Faults.mixed(0.5, seed).draw(number).kind for number in range(50)] for seed in (1, 2)]
    assert draws[0] != draws[1]


def test_faults_come_at_their_rates():
    faults = Faults(statuses={429: 0.2, 500: 0.1}, cut=0.3, seed=5)
    counted = Counter(faults.draw(number).kind for number in range(4_000))
    shares = {kind: count / 4_000 for kind, count in counted.items()}
    assert shares == pytest.approx({"429": 0.2, "500": 0.1, "cut": 0.3, None: 0.4}, abs=0.04)


def test_a_mixture_has_a_bit_of_everything_and_the_rate_in_all():
    faults = Faults.mixed(0.2)
    assert faults.slips(1) is None
    assert sum(rate for _, rate in faults.rates) == pytest.approx(0.2)
    assert all(rate > 0 for _, rate in faults.rates)
    assert {name for name, _ in faults.rates} == {"429", "500", "503", "408", *KINDS}
    assert Faults.mixed(1.0).draw(1).kind


def test_what_a_model_gets_wrong_comes_at_its_rates_and_leaves_the_faults_of_attempts_as_they_are():
    plain = Faults(statuses={500: 0.3}, latency=Uniform(0, 1), seed=5)
    faults = Faults(statuses={500: 0.3}, latency=Uniform(0, 1), seed=5, pack_drop=0.2, prose=0.9)
    drawn = [faults.slips(number) for number in range(2_000)]
    counted = Counter(kind for slips in drawn if slips for kind in slips.kinds)
    assert counted["pack_drop"] / 2_000 == pytest.approx(0.2, abs=0.03)
    assert counted["prose"] / 2_000 == pytest.approx(0.9, abs=0.03)
    assert all(faults.draw(number) == plain.draw(number) for number in range(200))


def test_latencies_follow_their_distribution():
    uniform = Faults(latency=Uniform(0.1, 0.3))
    assert all(0.1 <= uniform.draw(number).latency_s <= 0.3 for number in range(200))
    wild = [Faults(latency=Lognormal(0.2, 0.5)).draw(number).latency_s for number in range(2_000)]
    assert median(wild) == pytest.approx(0.2, rel=0.1)
    assert max(wild) > 0.5


@pytest.mark.parametrize(
    "fields",
    [
        {"cut": 1.1},
        {"cut": -0.1},
        {"cut": float("nan")},
        {"cut": 0.6, "reset": 0.6},
        {"statuses": {200: 0.1}},
        {"statuses": {"429": 0.1}},
        {"retry_after_s": -1},
        {"hang_s": float("inf")},
        {"requests_per_minute": 0},
        {"outages": (Outage(0, 10), Outage(5, 15))},
    ],
)
def test_settings_that_make_no_sense_are_refused(fields):
    with pytest.raises(FaultsError, match=next(iter(fields)) + "|together|status"):
        Faults(**fields)


@pytest.mark.parametrize(
    "make", [lambda: Uniform(2, 1), lambda: Lognormal(0, 1), lambda: Outage(5, 5), lambda: Outage(0, 1, 200)]
)
def test_values_that_make_no_sense_are_refused(make):
    with pytest.raises(FaultsError):
        make()


@pytest.mark.parametrize(
    ("faults", "bytes_needed"),
    [
        (Faults(statuses={500: 1.0}, truncate=0, outages=(Outage(0, 1, 503),)), False),
        (Faults(slow_body=0.5, empty_body=0.1), False),
        (Faults(cut=0.1), True),
        (Faults(reset=0.1), True),
        (Faults(hang=0.1), True),
        (Faults(outages=(Outage(0, 1, "refuse"),)), True),
        (Faults(outages=(Outage(0, 1, "reset"),)), True),
    ],
)
def test_it_is_known_which_faults_need_a_raw_server(faults, bytes_needed):
    assert faults.needs_bytes is bytes_needed


FILE = """
seed: 7
statuses: {429: 0.05, 503: 0.02}
retry_after_s: 1
cut: 0.01
cut_at: 12
latency: {lognormal: {median: 0.2, sigma: 0.5}}
outages: [[10, 25], [60, 70, refuse]]
requests_per_minute: 600
bills_errors: true
"""


def test_a_file_says_it_all(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text(FILE)
    assert read_faults(path) == Faults(
        seed=7,
        statuses={429: 0.05, 503: 0.02},
        retry_after_s=1,
        cut=0.01,
        cut_at=12,
        latency=Lognormal(0.2, 0.5),
        outages=(Outage(10, 25, 503), Outage(60, 70, "refuse")),
        requests_per_minute=600,
        bills_errors=True,
    )


def test_json_will_do_as_well(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text(json.dumps({"statuses": {"429": 0.5}, "latency": {"uniform": [0, 1]}, "hang_s": None}))
    assert read_faults(path) == Faults(statuses={429: 0.5}, latency=Uniform(0, 1))
    path.write_text("latency: 0.05")
    assert read_faults(path).latency == Uniform(0.05, 0.05)
    path.write_text("")
    assert read_faults(path) == Faults()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cutt: 0.1", "unknown key 'cutt'; did you mean cut"),
        ("zzz: 1", "unknown key 'zzz'; there are seed"),
        ("cut: yes", "cut: a number"),
        ("pack_drop: 1.5", "pack_drop: a rate"),
        ("pack_drift: -1", "pack_drift: a rate"),
        ("late_charge_s: -1", "late_charge_s: must be 0 or more"),
        ("cut: 1e3", "cut: a number"),
        ("cut_at: 1.5", "cut_at: a whole number"),
        ("bills_cut: 1", "bills_cut: true or false"),
        ("statuses: [429]", "statuses: a mapping"),
        ("statuses: {teapot: 0.1}", "'teapot' is no HTTP error status"),
        ("statuses: {429: often}", "statuses.429: a number"),
        ("latency: {normal: [1, 2]}", "latency: seconds"),
        ("latency: {uniform: [1, 2], sigma: 1}", "latency: seconds"),
        ("outages: 5", "outages: a list"),
        ("outages: [[1]]", "outages: \\[start, end, how\\]"),
        ("outages: [[1, 2, gone]]", "'gone' is no HTTP error status"),
        ("- cut", "a mapping such as"),
        ("cut: [", "neither YAML nor JSON"),
        ("cut: 0.9\nreset: 0.9", "together"),
    ],
)
def test_a_bad_file_is_named_with_the_key_that_is_wrong(tmp_path, text, message):
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(FaultsError, match=message) as raised:
        read_faults(path)
    assert str(path) in str(raised.value)


def test_every_field_can_be_set_from_a_file(tmp_path):
    path = tmp_path / "faults.yaml"
    for name in FIELDS:
        value = {"statuses": {500: 0.1}, "latency": 0.1, "outages": [[0, 1]]}.get(name, 1)
        path.write_text(json.dumps({name: name == "bills_errors" if name.startswith("bills") else value}))
        assert getattr(read_faults(path), name) != getattr(Faults(), name)


def test_every_key_of_a_faults_file_is_described():
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "emulator.md").read_text(encoding="utf-8")
    assert set(FIELDS) <= set(re.findall(r"`(\w+)", page))
