"""Packs: nothing is lost or doubled, limits hold, and what a plan counts is what a run sends."""

from __future__ import annotations

from collections import Counter
from itertools import count

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from parrot import tasks

from journeybatch.asking import Ask, Subject
from journeybatch.items import overhead
from journeybatch.packing import ALONE, OPEN_PACKS, Limit, Piece, Sizing, Wording, group, requests
from journeybatch.planning import pack_counter
from journeybatch.records import Message, Price, Prompt
from journeybatch.survey import prompts, survey

PIECES = st.lists(
    st.builds(
        Piece,
        kind=st.sampled_from(["a", "b", None]),
        rows=st.integers(1, 6),
        characters=st.integers(0, 400),
        base=st.sampled_from([0, 50, 990]),
    ),
    max_size=80,
)


@given(PIECES, st.integers(100, 1000))
def test_grouping_loses_and_doubles_nothing_and_keeps_every_limit(pieces, characters):
    # one kind shares one base, as one head does
    pieces = [Piece((piece.kind, piece.base), piece.rows, piece.characters, piece.base) for piece in pieces]
    packs = list(group(((piece, at) for at, piece in enumerate(pieces)), characters))
    assert sorted(at for pack in packs for at in pack) == list(range(len(pieces)))
    for pack in packs:
        inside = [pieces[at] for at in pack]
        assert len({(piece.kind, piece.rows) for piece in inside}) == 1
        assert len(pack) <= inside[0].rows
        assert len(pack) == 1 or inside[0].base + sum(piece.characters for piece in inside) <= characters
        assert pack == sorted(pack)


@given(st.integers(1, 200), st.integers(2, 20))
def test_prompts_alike_fill_their_packs(things, rows):
    packs = list(group((Piece(None, rows), n) for n in range(things)))
    assert [len(pack) for pack in packs] == [rows] * (things // rows) + [things % rows] * (things % rows > 0)


def test_one_long_row_goes_alone_and_cuts_no_pack_short():
    pieces = [Piece(None, 4, 10), Piece(None, 4, 5000), Piece(None, 4, 10), Piece(None, 4, 10), Piece(None, 4, 10)]
    assert list(group(zip(pieces, "aXbcd", strict=True), 1000)) == [["X"], ["a", "b", "c", "d"]]


def test_only_a_few_packs_are_open_at_a_time():
    pulled = []

    def pieces():
        for n in range(100):
            pulled.append(n)
            yield Piece(n, 10), n

    first = next(group(pieces()))
    assert first == [0]
    assert len(pulled) == OPEN_PACKS + 1, "nothing reads the whole table before the first request"


def test_what_goes_alone_hurries_no_pack_that_waits_for_company():
    waiting = [(Piece(n, 2), n) for n in range(OPEN_PACKS)]
    packs = list(group([*waiting, (ALONE, "alone"), *waiting]))
    assert packs == [["alone"], *([n, n] for n in range(OPEN_PACKS))]


def test_what_all_rows_share_counts_in_every_pack():
    """The head that rows share, and what is said about packs, leave the less room for rows."""
    frame, ask, surveyed = asked([f"thing {n}" for n in range(10)], system="s" * 40)
    wanted = surveyed.keys.is_not_null()
    first = Sizing(Limit(9), 20).piece(surveyed, 0, 0)
    assert first.base == 20 + 40

    def sizes(room):
        sizing = Sizing(Limit(9, first.base + room), 20)
        return [
            len(pack)
            for pack in sizing.packs(surveyed, 0, prompts(lambda start: [frame[start:]], surveyed, ask, 0, wanted))
        ]

    assert sizes(3 * first.characters) == [3, 3, 3, 1]
    assert sizes(3 * first.characters - 1) == [2] * 5
    assert sizes(first.characters) == [1] * 10


def test_only_steps_that_may_be_packed_are():
    frame, ask, surveyed = asked(["a", "b", "c"])
    sizing = Sizing(Limit(9), steps=frozenset({1}))
    assert sizing.piece(surveyed, 0, 0) == ALONE
    packs = sizing.packs(
        surveyed, 0, prompts(lambda start: [frame[start:]], surveyed, ask, 0, surveyed.keys.is_not_null())
    )
    assert [len(pack) for pack in packs] == [1, 1, 1]
    sizing = Sizing(Limit(9), steps=frozenset({0}))
    packs = sizing.packs(
        surveyed, 0, prompts(lambda start: [frame[start:]], surveyed, ask, 0, surveyed.keys.is_not_null())
    )
    assert [len(pack) for pack in packs] == [3]


def test_what_needs_no_company_goes_at_once():
    assert list(group([(ALONE, 1), (Piece("k", 2), 2), (ALONE, 3), (Piece("k", 2), 4)])) == [[1], [3], [2, 4]]


# -- of a survey ---------------------------------------------------------------------------------------------------


def asked(texts, *, samples=1, system="Be terse."):
    frame = pl.DataFrame({"text": texts})
    subject = Subject("p", (("m", {}),), (("system", system), ("user", "{{ text }}")), samples)
    ask = Ask([subject], ("text",))
    return frame, ask, survey([frame], ask, packs=True)


ROWS = st.lists(st.text("ab\n\"é\x01'", max_size=120), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 7), st.integers(400, 3000), st.integers(1, 3), st.data())
def test_the_plan_counts_what_is_sent_and_what_is_sent_fits(texts, rows, characters, samples, data):
    frame, ask, surveyed = asked(texts, samples=samples)
    wanted = surveyed.keys.is_first_distinct()
    rooms = {key: data.draw(st.integers(1, 8)) for key in surveyed.keys.head(data.draw(st.integers(0, 5)))}
    sizing = Sizing(Limit(rows, characters), overhead(""), rooms)
    packs = sizing.packs(surveyed, 0, prompts(lambda start: [frame[start:]], surveyed, ask, 0, wanted))
    wording = Wording(lambda messages, _: messages[-1].content.encode(), "", b"journal1")
    sent = list(requests(packs, model="m", price=Price(1, 1), wording=wording, numbers=count()))
    assert len(sent) == pack_counter(surveyed, sizing)(0, wanted)
    assert Counter(p.key for r in sent for p in r.prompts) == Counter(surveyed.keys.filter(wanted).to_list())
    assert [request.id for request in sent] == list(range(len(sent)))
    for request in sent:
        assert len(request.prompts) <= rows
        assert all(len(request.prompts) <= rooms.get(prompt.key, rows) for prompt in request.prompts)
        if len(request.prompts) > 1:
            assert len("Be terse.") + len(request.body.decode()) <= characters
            assert [task for _, task in tasks(request.body.decode())] == [
                p.messages[-1].content for p in request.prompts
            ]


def test_a_body_is_told_how_many_rows_it_is_for():
    frame, ask, surveyed = asked(["a", "b", "c"])
    each = list(prompts(lambda start: [frame[start:]], surveyed, ask, 0, surveyed.keys.is_first_distinct()))
    alone = [prompt for _, prompt in each]
    wording = Wording(lambda messages, rows: b"%d" % rows, "", b"journal1")
    assert [wording.write(alone[:rows], 1) for rows in (1, 2, 3)] == [b"1", b"2", b"3"]


def test_a_pack_says_what_its_rows_share_once_and_first():
    frame, ask, surveyed = asked(["a", "b"])
    pack = [
        prompt
        for _, prompt in prompts(lambda start: [frame[start:]], surveyed, ask, 0, surveyed.keys.is_first_distinct())
    ]
    said = []
    Wording(lambda messages, _: said.extend(messages) or b"", "", b"journal1").write(pack, 1)
    assert (said[0].role, "Be terse." in said[0].content) == ("system", True)
    assert sum(message.content.count("Be terse.") for message in said) == 1


def test_samples_of_a_row_never_meet_in_a_pack():
    frame, ask, surveyed = asked(["a", "b", "c"], samples=3)
    packs = Sizing(Limit(9)).packs(
        surveyed, 0, prompts(lambda start: [frame[start:]], surveyed, ask, 0, surveyed.keys.is_not_null())
    )
    said = [[prompt.messages[-1].content for prompt in pack] for pack in packs]
    assert said == [["a", "b", "c"]] * 3


def test_rows_with_different_heads_never_meet():
    frame, ask, surveyed = asked(["a", "b", "a2", "b2"], system="{{ text[0] }}")
    packs = Sizing(Limit(9)).packs(
        surveyed, 0, prompts(lambda start: [frame[start:]], surveyed, ask, 0, surveyed.keys.is_not_null())
    )
    assert [[prompt.messages[0].content for prompt in pack] for pack in packs] == [["a", "a"], ["b", "b"]]


def test_a_prompt_that_the_assistant_ends_is_asked_alone():
    frame = pl.DataFrame({"text": ["a", "b"]})
    ask = Ask([Subject("p", (("m", {}),), (("user", "{{ text }}"), ("assistant", "{")))], ("text",))
    surveyed = survey([frame], ask, packs=True)
    wanted = surveyed.keys.is_not_null()
    assert pack_counter(surveyed, Sizing(Limit(9)))(0, wanted) == 2
    packs = Sizing(Limit(9)).packs(surveyed, 0, prompts(lambda start: [frame[start:]], surveyed, ask, 0, wanted))
    assert [len(pack) for pack in packs] == [1, 1]


def test_max_tokens_are_asked_for_as_many_rows_as_there_are():
    rows = []
    wording = Wording(lambda messages, number: rows.append(number) or b"")
    pack = [Prompt(bytes([n]) * 16, (Message("user", "x"),)) for n in range(3)]
    wording.write(pack, 1)
    wording.write(pack[:1], 2)
    assert rows == [3, 1]
