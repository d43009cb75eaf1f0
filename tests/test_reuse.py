"""Answers of other directories, looked up by key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from journeybatch.answers import fields_contract
from journeybatch.entries import Began, Intent, Received, Settled
from journeybatch.errors import DiskFull, OutputError, RunLocked
from journeybatch.history import History
from journeybatch.items import token
from journeybatch.journal import Journal, open_journal
from journeybatch.reading import PLAIN, Reader
from journeybatch.reuse import Library, Loans
from journeybatch.verdict import ANSWERED

A, B, C = (bytes([letter]) * 16 for letter in b"abc")


def completion(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()


def replied(journal: Journal, keys: list[bytes], answers: dict[bytes, object], at: float = 5.0) -> None:
    """A settled reply to ``keys`` in one pack that gives some of them an answer."""
    number = journal.history.next_request
    told = [{"id": token(journal.history.id, number, key), "answer": answers[key]} for key in keys if key in answers]
    text = json.dumps({"answers": told}) if len(keys) > 1 else str(answers[keys[0]])
    journal.append(Intent(number, 1, b"".join(keys), "m", 1, 1, at))
    journal.append(Received(number, 1, b"".join(keys), 200, {}, completion(text), 0.5, at))
    journal.append(Settled(number, 1, "settled", 1, 1, None, None, 200, 0.5, bytes([ANSWERED] * len(keys))))


def directory(path: Path, *replies: tuple[list[bytes], dict[bytes, object]]) -> Path:
    path.mkdir()
    journal = open_journal(path)
    journal.append(Began(1, "job", "{}", False, False, 1.0))
    for keys, answers in replies:
        replied(journal, keys, answers)
    journal.close()
    return path


def lent(library: Library, keys: list[bytes], to: History, since: float = 0.0, reader: Reader = PLAIN) -> list[int]:
    """Which requests were lent."""
    loans = Loans()
    library.lend(pl.Series(keys, dtype=pl.Binary), reader, since, to, loans)
    return [entry.request for entry in library.entries(loans)]


def test_a_reply_is_lent_once_for_all_the_keys_it_answers(tmp_path: Path) -> None:
    other, own = directory(tmp_path / "o", ([A, B], {A: "a", B: "b"})), History()
    assert lent(Library([other]), [A, B, C], own) == [0]
    assert [own.attempts.codes(i) for i in range(len(own.attempts))] == [bytes([ANSWERED, ANSWERED])]
    assert own.spent == 0


def test_a_key_that_its_pack_missed_is_lent_the_reply_that_has_it(tmp_path: Path) -> None:
    other = directory(tmp_path / "o", ([A, B], {A: "a"}), ([B], {B: "b"}))
    assert lent(Library([other]), [A, B], History()) == [0, 1]
    assert lent(Library([other]), [B], History()) == [1]


def test_a_key_that_nobody_answered_is_not_lent(tmp_path: Path) -> None:
    other = directory(tmp_path / "o", ([A, B], {A: "a"}))
    assert lent(Library([other]), [B, C], History()) == []


def test_directories_are_asked_in_their_order(tmp_path: Path) -> None:
    first = directory(tmp_path / "1", ([B], {B: "b"}))
    second = directory(tmp_path / "2", ([A], {A: "a"}), ([B], {B: "other"}))
    assert lent(Library([first, second]), [A, B], History()) == [0, 0]
    assert lent(Library([second]), [A, B], History()) == [0, 1]


def test_what_is_too_old_or_cannot_be_read_is_not_lent(tmp_path: Path) -> None:
    other = directory(tmp_path / "o", ([A], {A: "a"}), ([B], {B: '{"mood": "good"}'}))
    assert lent(Library([other]), [A], History(), since=5.0) == [0]
    assert lent(Library([other]), [A], History(), since=5.1) == []
    assert lent(Library([other]), [A, B], History(), reader=Reader(fields_contract({"mood": ["good", "bad"]}))) == [1]


def test_a_directory_without_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"{tmp_path}.*no journal here"):
        Library([tmp_path])


@pytest.mark.parametrize(
    ("fate", "error", "said"),
    [("taken away", OutputError, "has been taken away"), ("written anew", RunLocked, "written its journal anew")],
)
def test_a_directory_that_changes_while_it_lends_is_named_and_lends_nothing_wrong(
    tmp_path: Path, fate: str, error: type[Exception], said: str
) -> None:
    other = directory(tmp_path / "o", ([A], {A: "a"}), ([B, C], {B: "b", C: "c"}))
    library, loans = Library([other]), Loans()
    library.lend(pl.Series([C, A], dtype=pl.Binary), PLAIN, 0.0, History(), loans)
    assert len(loans) == 2
    shutil.rmtree(other)
    if fate == "written anew":
        directory(other, ([C], {C: "other"}), ([A], {A: "other"}))
    with pytest.raises(error, match=f"reuse: {other}: .*{said}"):
        next(library.entries(loans))


def test_copies_of_a_directory_lend_what_each_of_them_asked(tmp_path: Path) -> None:
    """They have one id, and gave the same number to different prompts."""
    one = directory(tmp_path / "one", ([A], {A: "a"}))
    two = Path(shutil.copytree(one, tmp_path / "two"))
    for path, key, said in ((one, B, "b"), (two, C, "c")):
        journal = open_journal(path)
        replied(journal, [key], {key: said})
        journal.close()
    library, own, loans = Library([one, two]), History(), Loans()
    library.lend(pl.Series([A, B, C], dtype=pl.Binary), PLAIN, 0.0, own, loans)
    texts = {entry.keys: json.loads(entry.body)["choices"][0]["message"]["content"] for entry in library.entries(loans)}
    assert texts == {A: "a", B: "b", C: "c"}
    assert [own.attempts.keys_of(i) for i in range(len(own.attempts))] == [[A], [B], [C]]


def test_a_reply_that_is_damaged_makes_the_lender_s_bookmark_forgotten(tmp_path: Path) -> None:
    other = directory(tmp_path / "o", ([A], {A: "a"}))
    library, loans = Library([other]), Loans()
    library.lend(pl.Series([A], dtype=pl.Binary), PLAIN, 0.0, History(), loans)
    data = bytearray((other / "journal").read_bytes())
    data[data.index(b'"a"')] ^= 1
    (other / "journal").write_bytes(data)
    (other / "bookmark.bin").touch()
    with pytest.raises(DiskFull, match="damaged"):
        list(library.entries(loans))
    assert not (other / "bookmark.bin").exists()


def test_no_descriptor_is_held_for_a_directory_that_lends(tmp_path: Path) -> None:
    others = [directory(tmp_path / f"{n}", ([bytes([n]) * 16], {bytes([n]) * 16: "a"})) for n in range(30)]
    before = len(list(Path("/dev/fd").iterdir()))
    library, loans = Library(others), Loans()
    library.lend(pl.Series([bytes([n]) * 16 for n in range(30)], dtype=pl.Binary), PLAIN, 0.0, History(), loans)
    assert len(loans) == 30
    assert len(list(Path("/dev/fd").iterdir())) <= before
