"""A register is believed as far as it is whole, of today's making, and about the same cells."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import register
from journeybatch.asking import Ask, Subject
from journeybatch.register import NAME, Register, Terms, opened, write
from journeybatch.rendering import BLOCK, Block, extents_of

COLUMNS = {"text": pl.String()}
DEEPSEEK = ("deepseek-chat", {})
SUBJECT = Subject("emulator", (DEEPSEEK,), (("user", "Say {{ text }}"),))
laws = settings(deadline=None, max_examples=80)

keys = st.binary(min_size=16, max_size=16).filter(any) | st.none()
extents = st.tuples(st.integers(0, 2**32 - 1), st.none() | st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))


@st.composite
def written(draw: st.DrawFn) -> tuple[Terms, list[tuple[bytes, int, Block]]]:
    """Terms, and blocks that fit them under names of their own."""
    steps, width, ways = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    blocks = []
    for number in range(draw(st.integers(0, 4))):
        rows = draw(st.integers(1, 5))
        found = [draw(st.lists(keys, min_size=rows * width, max_size=rows * width)) for _ in range(steps)]
        told = draw(st.lists(extents, min_size=rows * ways, max_size=rows * ways)) if ways else None
        series = [pl.Series("jb_key", each, dtype=pl.Binary) for each in found]
        blocks.append((bytes([number] * 16), rows, Block(series, None if told is None else extents_of(told))))
    return Terms(draw(st.binary(min_size=32, max_size=32)), steps, width, ways), blocks


def believed(found: Register, name: bytes, block: Block, rows: int) -> bool:
    """Whether the register says something of the block; what it says must be so."""
    known = found._find(name, rows)
    assert known is None or (known.same(block) and block.same(known))
    return known is not None


@laws
@given(written())
def test_what_is_kept_is_found_again(tmp_path_factory, kept):
    path, (terms, blocks) = tmp_path_factory.mktemp("kept") / NAME, kept
    write(path, terms, blocks)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with opened(path, terms) as found:
        assert all(believed(found, name, block, rows) for name, rows, block in blocks)
        assert found._find(b"?" * 16, 1) is None


@laws
@given(written(), st.data())
def test_whatever_happens_to_the_file_nothing_false_is_found(tmp_path_factory, kept, data):
    path, (terms, blocks) = tmp_path_factory.mktemp("kept") / NAME, kept
    write(path, terms, blocks)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(at, len(whole)))
    spoiled = whole[:at] + data.draw(st.binary(max_size=4) | st.just(bytes(end - at))) + whole[end:]
    path.write_bytes(spoiled)
    with opened(path, terms) as found:
        for name, rows, block in blocks:
            believed(found, name, block, rows)


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"journeybatch register 1\n", os.urandom(5000)])
def test_a_foreign_file_says_nothing(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with opened(tmp_path / NAME, Terms(bytes(32), 1, 1, 0)) as found:
        assert found._find(b"?" * 16, 1) is None


def test_an_index_of_absurd_length_is_not_read(tmp_path):
    terms = Terms(bytes(32), 1, 1, 0)
    for number in (2**64 - 1, 2**27):
        with (tmp_path / NAME).open("wb") as file:  # sparse: it claims eight gigabytes
            file.seek(2**33)
            file.write(register._END.pack(terms.bound, number, bytes(32), bytes(16)))
        with opened(tmp_path / NAME, terms) as found:
            assert found._find(b"?" * 16, 1) is None


@pytest.mark.parametrize("rows", [0, BLOCK + 1, 2**32 - 1])
def test_a_block_of_a_length_that_is_never_written_says_nothing(tmp_path, rows):
    terms, index = Terms(bytes(32), 1, 1, 0), register._ENTRY.pack(b"1" * 16, rows, register._digest(b""))
    with (tmp_path / NAME).open("wb") as file:  # sparse, where it claims to be long
        file.write(register._MAGIC)
        file.seek(len(register._MAGIC) + terms.size(rows))
        file.write(index)
        checksum = register._checksum(terms.bound, b"c" * 32, index)
        file.write(register._END.pack(terms.bound, 1, b"c" * 32, checksum))
    with opened(tmp_path / NAME, terms) as found:
        assert found.contents is None
        assert found.entire(b"1" * 16, block()) == []


def test_what_is_no_file_says_nothing(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "loop", tmp_path / "gone"):
        with opened(path, Terms(bytes(32), 1, 1, 0)) as found:
            assert found._find(b"?" * 16, 1) is None


def terms_of(subject: Subject = SUBJECT, columns: dict[str, pl.DataType] = COLUMNS, *, packs: bool = False) -> Terms:
    return Terms.of(Ask([subject], tuple(columns)), columns, packs=packs)


def test_other_terms_are_told_apart():
    def other(**keys):
        given = {name: getattr(SUBJECT, name) for name in Subject.__struct_fields__}
        return terms_of(Subject(**(given | keys)))

    all_of_them = [
        terms_of(),
        terms_of(packs=True),
        terms_of(columns={"text": pl.Categorical()}),
        terms_of(columns={"text": pl.String(), "more": pl.String()}),
        other(provider="journeyapi.co"),
        other(models=(("gpt-4o", {}),)),
        other(models=(("deepseek-chat", {"temperature": 0.5}),)),
        other(models=(DEEPSEEK, ("gpt-4o", {}))),
        other(messages=(("user", "Say {{ text }}!"),)),
        other(messages=(("system", "Say {{ text }}"),)),
        other(samples=2),
    ]
    assert len({terms.bound for terms in all_of_them}) == len(all_of_them)
    assert terms_of() == terms_of()


@pytest.mark.parametrize("name", ["journeybatch", "minijinja", "polars", "python"])
def test_another_version_of_anything_is_another_register(name, monkeypatch):
    before = terms_of()
    if name == "minijinja":
        known = register.version
        monkeypatch.setattr(register, "version", lambda package: known(package) + ".post1")
    else:
        owner, attribute = {
            "journeybatch": (register, "__version__"),
            "polars": (pl, "__version__"),
            "python": (sys, "version"),
        }[name]
        monkeypatch.setattr(owner, attribute, "another")
    assert terms_of().bound != before.bound


def block(*found: bytes) -> Block:
    return Block([pl.Series("jb_key", [each * 16 for each in found], dtype=pl.Binary)])


@pytest.fixture
def kept(tmp_path) -> tuple[Path, Terms]:
    path, terms = tmp_path / NAME, Terms(bytes(32), 1, 1, 0)
    write(path, terms, [(b"1" * 16, 1, block(b"a")), (b"2" * 16, 1, block(b"b"))])
    return path, terms


def test_the_first_block_that_is_found_is_made_all_the_same(kept):
    with opened(*kept) as found:
        first, second = (found.look_up(name * 16, 1, lambda: block(b"a")) for name in (b"1", b"2"))
    assert (first[1], second[1]) == (False, True)
    assert second[0].same(block(b"b"))


def test_where_it_comes_to_something_else_nothing_is_believed(kept):
    with opened(*kept) as found:
        assert [found.look_up(name * 16, 1, lambda: block(b"c"))[1] for name in (b"1", b"2", b"1")] == [False] * 3


def test_a_disk_that_is_full_leaves_what_was_kept_before(kept, monkeypatch):
    path, terms = kept
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, terms, [])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
