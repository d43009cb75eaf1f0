"""What a first pass finds is the same with what an earlier one kept as without, whatever was edited in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from itertools import count

import polars as pl
import pytest
from conftest import Flow
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import preparation, register, rendering, survey
from journeybatch.asking import Ask, Subject
from journeybatch.errors import InputChanged
from journeybatch.history import History
from journeybatch.job import World, bind
from journeybatch.loading import load_job
from journeybatch.register import NAME, Terms, opened, write
from journeybatch.survey import Survey, keep, prompts

BLOCK = 4
ONE = Subject("emulator", (("deepseek-chat", {}),), (("user", "Say {{ text }}"),))
OTHER = Subject("emulator", (("gpt-4o", {"temperature": 0.5}),), (("system", "Brief."), ("user", "{{ text }}?")))
CLIMB = Subject("emulator", (("deepseek-chat", {}), ("gpt-4o", {})), ONE.messages, samples=2, repeats=3)
LONE = Subject("emulator", (("gpt-4o", {}),), OTHER.messages, samples=2)
SYSTEM = Subject("emulator", ONE.models, (("user", "{{ text }}"), ("system", "Brief.")))
ASKS = {
    "one": [ONE],
    "samples": [Subject("emulator", ONE.models, ONE.messages, samples=3)],
    "cascade": [CLIMB],
    "variants": [ONE, OTHER, SYSTEM],
    "a cascade beside a single model": [CLIMB, LONE],
}


@pytest.fixture
def small(monkeypatch) -> None:
    """Blocks of four rows, and all that is found is kept."""
    monkeypatch.setattr(rendering, "BLOCK", BLOCK)
    monkeypatch.setattr(survey, "WORTH", 1)


def told(found: Survey) -> tuple[object, ...]:
    """All that a survey says of a table."""
    labels = found.labels and (found.labels.column, found.labels.rows.rows(), found.labels.digest)
    extents = None if found.extents is None else found.extents.rows()
    keys = [step.to_list() for step in found.steps]
    assert {step.dtype for step in found.steps} == {pl.Binary()}
    return keys, found.problems, found.digests, found.sizes, found.samples, found.width, extents, labels


def looked(
    frame: pl.DataFrame,
    ask: Ask,
    path,
    *,
    packs: bool = False,
    target: str | None = None,
    contents: bytes | None = None,
    read: list[int] | None = None,
) -> Survey:
    """A survey of a frame, with the register at ``path``. The rows that were looked at go to ``read``, by number."""

    def frames() -> Iterator[pl.DataFrame]:
        for at in range(0, frame.height, BLOCK):
            (read if read is not None else []).append(at)
            yield frame[at : at + BLOCK]

    with opened(path, Terms.of(ask, frame.schema, packs=packs)) as register:
        return survey.survey(frames(), ask, packs=packs, target=target, register=register, contents=contents)


def contents_of(frame: pl.DataFrame) -> bytes:
    """As those of a file that has these rows."""
    return sha256(repr(frame.rows()).encode()).digest()


texts = st.text("abc", min_size=1, max_size=3)
edits = st.lists(
    st.tuples(st.sampled_from(["cell", "insert", "delete", "move", "label", "null"]), st.integers(0, 30), texts),
    max_size=4,
)


def edited(rows: list[tuple[str | None, str]], edits: list[tuple[str, int, str]]) -> list[tuple[str | None, str]]:
    rows = list(rows)
    for kind, number, text in edits:
        at = number % (len(rows) + 1)
        if kind == "insert":
            rows.insert(at, (text, ""))
        elif at < len(rows):
            row = rows.pop(at)
            if kind == "move":
                rows.append(row)
            elif kind != "delete":
                there = {"cell": (text, row[1]), "label": (row[0], text), "null": (None, row[1])}
                rows.insert(at, there[kind])
    return rows


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(st.tuples(texts, st.sampled_from(["", "yes", "no"])), max_size=20),
    edits=edits,
    asked=st.sampled_from(sorted(ASKS)),
    packs=st.booleans(),
    target=st.sampled_from(["label", None]),
)
def test_a_survey_with_what_was_kept_equals_one_without(tmp_path_factory, rows, edits, asked, packs, target):
    path, ask = tmp_path_factory.mktemp("out") / NAME, Ask(ASKS[asked], ("text", "label"))
    before, after = (
        pl.DataFrame(each, schema={"text": pl.String, "label": pl.String}, orient="row")
        for each in (rows, edited(rows, edits))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "BLOCK", BLOCK)
        patch.setattr(survey, "WORTH", 1)
        first = looked(before, ask, path, packs=packs, target=target, contents=contents_of(before))
        keep(first, lambda: contents_of(before))
        without = survey.survey([after], ask, packs=packs, target=target)
        found = looked(after, ask, path, packs=packs, target=target, contents=contents_of(after))
        assert told(found) == told(without)
        keep(found, lambda: contents_of(after))
        again = looked(after, ask, path, packs=packs, target=target, contents=contents_of(after))
        assert told(again) == told(without)
        for step in range(len(ask.steps)) if not without.problems else ():
            wanted = without.steps[step].is_not_null()
            sent = list(prompts(lambda start: [after[start:]], again, ask, step, wanted))
            assert sent == list(prompts(lambda start: [after[start:]], without, ask, step, wanted))


def table(rows: int = 20) -> pl.DataFrame:
    return pl.DataFrame({"text": [f"thing {n}" for n in range(rows)]})


@pytest.mark.usefixtures("small")
def test_only_blocks_that_changed_are_rendered_and_one_to_see_that_it_can_be_believed(tmp_path):
    ask, path = Ask([ONE], ("text",)), tmp_path / NAME
    assert looked(table(), ask, path).kept == [False] * 5
    keep(looked(table(), ask, path))
    assert looked(table(), ask, path).kept == [False, True, True, True, True]
    cell = table().with_columns(text=pl.when(pl.int_range(pl.len()) == 9).then(pl.lit("new")).otherwise("text"))
    assert looked(cell, ask, path).kept == [False, True, False, True, True]
    assert looked(pl.concat([table(), table(2)]), ask, path).kept == [False, True, True, True, True, False]
    assert looked(table().slice(8), ask, path).kept == [False, True, True]
    assert looked(table(), Ask([OTHER], ("text",)), path).kept == [False] * 5


@pytest.mark.usefixtures("small")
def test_of_a_table_whose_files_are_what_they_were_only_the_first_block_is_read(tmp_path):
    ask, path, read = Ask([ONE], ("text",)), tmp_path / NAME, []
    keep(looked(table(), ask, path, contents=b"1" * 32), lambda: b"1" * 32)
    found = looked(table(), ask, path, contents=b"1" * 32, read=read)
    assert told(found) == told(survey.survey([table()], ask))
    assert found.kept == [False, True, True, True, True]
    assert read == [0]
    assert looked(table(), ask, path, contents=b"2" * 32, read=read).kept == found.kept
    assert read == [0, 0, 4, 8, 12, 16]


@pytest.mark.usefixtures("small")
def test_a_table_that_was_changed_while_it_was_surveyed_is_not_known_by_its_files(tmp_path):
    ask, path, read = Ask([ONE], ("text",)), tmp_path / NAME, []
    keep(looked(table(), ask, path, contents=b"1" * 32), lambda: b"2" * 32)
    for contents in (b"1" * 32, b"2" * 32, None):
        looked(table(), ask, path, contents=contents, read=read)
    assert read == [0, 4, 8, 12, 16] * 3


@pytest.mark.usefixtures("small")
def test_rows_that_are_not_what_the_files_had_are_noticed_when_they_are_asked(tmp_path):
    ask, path = Ask([ONE], ("text",)), tmp_path / NAME
    keep(looked(table(), ask, path, contents=b"1" * 32), lambda: b"1" * 32)
    found = looked(table(), ask, path, contents=b"1" * 32)
    cell = table().with_columns(text=pl.when(pl.int_range(pl.len()) == 9).then(pl.lit("new")).otherwise("text"))
    with pytest.raises(InputChanged):
        list(prompts(lambda start: [cell[start:]], found, ask, 0, found.keys.is_not_null()))
    assert not path.exists()  # should it be what was wrong


@pytest.mark.usefixtures("small")
def test_a_register_that_is_wrong_about_the_length_of_blocks_is_noticed(tmp_path):
    """As it could be only if somebody wrote it so."""
    ask, path = Ask([ONE], ("text",)), tmp_path / NAME
    found = looked(table(), ask, path)
    spans = [(0, 4), (4, 3), (7, 5), (12, 4), (16, 4)]
    blocks = [rendering.Block([found.keys.slice(*span)]) for span in spans]
    write(path, found.register.terms, zip(found.digests, [rows for _, rows in spans], blocks, strict=True), b"1" * 32)
    again = looked(table(), ask, path, contents=b"1" * 32)
    handed = []
    with pytest.raises(InputChanged):
        handed.extend(prompts(lambda start: [table()[start:]], again, ask, 0, again.keys.is_not_null()))
    assert [(number, prompt.key) for number, prompt in handed] == list(enumerate(found.keys.to_list()[:4]))
    assert not path.exists()  # the next run does without it


@pytest.mark.usefixtures("small")
def test_a_register_that_has_a_key_for_what_cannot_be_rendered_is_gone(tmp_path):
    ask, path = Ask([ONE], ("text",)), tmp_path / NAME
    null = table().with_columns(text=pl.when(pl.int_range(pl.len()) == 9).then(None).otherwise("text"))
    found = looked(null, ask, path)
    steps = [pl.Series("jb_key", [bytes([7]) * 16 if key is None else key for key in found.keys], dtype=pl.Binary)]
    blocks = [rendering.Block([steps[0].slice(at, BLOCK)]) for at in range(0, 20, BLOCK)]
    write(path, found.register.terms, zip(found.digests, found.sizes, blocks, strict=True))
    again = looked(null, ask, path)
    assert again.problems == []
    with pytest.raises(InputChanged):
        list(prompts(lambda start: [null[start:]], again, ask, 0, again.keys.is_not_null()))
    assert not path.exists()
    assert looked(null, ask, path).problems == found.problems


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("where", ["first", "last"])
def test_of_a_register_that_is_not_whole_the_rest_is_still_used(tmp_path, where):
    ask, path, read = Ask([ONE], ("text",)), tmp_path / NAME, []
    keep(looked(table(), ask, path, contents=b"1" * 32), lambda: b"1" * 32)
    data = bytearray(path.read_bytes())
    data[len(register._MAGIC) + (0 if where == "first" else 19 * 16)] ^= 1
    path.write_bytes(data)
    found = looked(table(), ask, path, contents=b"1" * 32, read=read)
    assert told(found) == told(survey.survey([table()], ask))
    assert found.kept == ([False, False, True, True, True] if where == "first" else [False, False, True, True, False])
    assert read == [0, 4, 8, 12, 16]


@pytest.mark.usefixtures("small")
def test_what_was_kept_of_other_files_is_kept_anew_though_all_blocks_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "WORTH", BLOCK + 1)
    ask, path, read = Ask([ONE], ("text",)), tmp_path / NAME, []
    keep(looked(table(), ask, path))
    keep(looked(table(), ask, path, contents=b"1" * 32), lambda: b"1" * 32)
    before = path.stat().st_mtime_ns
    keep(looked(table(), ask, path, contents=b"1" * 32, read=read), lambda: b"1" * 32)
    assert read == [0]
    assert path.stat().st_mtime_ns == before


def test_little_work_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "BLOCK", BLOCK)
    ask, path = Ask([ONE], ("text",)), tmp_path / NAME
    monkeypatch.setattr(survey, "WORTH", 21)
    keep(looked(table(), ask, path))
    assert not path.exists()
    monkeypatch.setattr(survey, "WORTH", 20)
    keep(looked(table(), ask, path))
    before = path.stat().st_ino
    keep(looked(table(), ask, path))
    keep(looked(table(8), ask, path))
    assert path.stat().st_ino == before


@pytest.mark.usefixtures("small")
def test_where_a_row_cannot_be_rendered_nothing_is_kept(tmp_path):
    frame = pl.DataFrame({"text": ["a"] * 9 + [None]})
    found = looked(frame, Ask([ONE], ("text",)), tmp_path / NAME)
    assert len(found.problems) == 1
    keep(found)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_a_table_that_programs_of_another_version_render_otherwise_is_rendered(tmp_path):
    """Should a version ever not say that it is another one."""
    ask, path = Ask([ONE], ("text",)), tmp_path / NAME
    found = looked(table(), ask, path)
    late = survey.survey([table()], Ask([OTHER], ("text",)))
    keep(Survey(late.steps, [], found.digests, found.sizes, register=found.register, kept=found.kept))
    assert path.exists()
    assert told(looked(table(), ask, path)) == told(found)


def doctored(path, found: Survey, rows: tuple[int, int]) -> None:
    """A whole register in which two rows have each other's keys."""
    keys = found.keys.to_list()
    one, other = rows
    keys[one], keys[other] = keys[other], keys[one]
    steps = [pl.Series("jb_key", keys, dtype=pl.Binary)]
    places = range(0, len(keys), BLOCK)
    blocks = [rendering.Block([steps[0].slice(at, BLOCK)]) for at in places]
    assert found.register is not None
    write(path, found.register.terms, zip(found.digests, found.sizes, blocks, strict=True))


@pytest.mark.usefixtures("small")
def test_a_prompt_is_not_handed_out_under_the_key_of_another(tmp_path):
    ask, path = Ask([ONE], ("text",)), tmp_path / NAME
    doctored(path, looked(table(), ask, path), (9, 14))
    found = looked(table(), ask, path)
    right, handed = survey.survey([table()], ask).keys.to_list(), []
    each = prompts(lambda start: [table()[start:]], found, ask, 0, found.keys.is_not_null())
    with pytest.raises(InputChanged, match=r"register\.bin .* row 9 .* the file is removed"):
        while True:
            row, prompt = next(each)
            handed.append((row, prompt.key))
    assert handed == list(enumerate(right[:9]))
    assert not path.exists()
    with pytest.raises(InputChanged, match="wrong"):
        next(survey.again([table()], found))


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 20), marked=st.sets(st.integers(0, 19)), samples=st.integers(1, 2))
def test_the_prompts_that_are_wanted_are_read_from_the_first_of_them_on(rows, marked, samples):
    ask = Ask([Subject("emulator", ONE.models, ONE.messages, samples=samples)], ("text",))
    begun = []

    def frames(start):
        begun.append(start)
        return [table(rows)[start:]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "BLOCK", BLOCK)
        found = survey.survey([table(rows)], ask)
        wanted = pl.Series([at in marked for at in range(found.rows)], dtype=pl.Boolean)
        handed = [(at, prompt.key, prompt.messages[0].content) for at, prompt in prompts(frames, found, ask, 0, wanted)]
    keys = found.keys.to_list()
    places = sorted(at for at in marked if at < found.rows)
    assert handed == [(at, keys[at], f"Say thing {at // samples}") for at in places]
    assert begun == [at // samples // BLOCK * BLOCK for at in places[:1]]


@pytest.mark.usefixtures("small")
def test_of_what_changes_under_a_run_only_what_is_asked_about_matters_to_its_prompts():
    ask = Ask([ONE], ("text",))
    found = survey.survey([table()], ask)
    wanted = pl.Series([at in (6, 17) for at in range(20)])
    edited = table().with_columns(
        text=pl.when(pl.int_range(pl.len()) == pl.lit(9)).then(pl.lit("new")).otherwise("text")
    )
    assert [at for at, _ in prompts(lambda start: [edited[start:]], found, ask, 0, wanted)] == [6, 17]
    with pytest.raises(InputChanged, match="row 16"):
        list(prompts(lambda start: [pl.concat([table(19), table(1)])[start:]], found, ask, 0, wanted))
    for rows in (19, 21, 25):
        with pytest.raises(InputChanged):
            list(prompts(lambda start, rows=rows: [table(rows)[start:]], found, ask, 0, wanted))


# -- of whole jobs -------------------------------------------------------------------------------------------------


@pytest.fixture
def grown(flow: Flow, small) -> Flow:
    flow.write([f"thing {n}" for n in range(20)])
    return flow


def kept(flow: Flow, limit: int | None = None, **keys: object) -> list[bool]:
    """Which blocks a first pass would take out of the output directory."""
    return bind(load_job(flow.job(**keys)), World(dict(os.environ)), limit=limit).survey().kept


@pytest.mark.parametrize("text", [None, 'id,text\n0,a\n"1,b\n', "id,other\n0,a\n"], ids=["gone", "broken", "others"])
def test_a_table_that_cannot_be_read_again_stops_the_run_in_peace(grown: Flow, text):
    """What is in flight may end, then: it is paid for."""
    job = bind(load_job(grown.job()), World(dict(os.environ)))
    found = job.survey()
    grown.table.unlink()
    if text is not None:
        grown.table.write_text(text, encoding="utf-8")
    with pytest.raises(InputChanged, match="all replies so far are safe"):
        list(job.requests(found, 0, pl.repeat(True, 20, eager=True), History(), count()))


def results(flow: Flow) -> pl.DataFrame:
    return flow.results().drop("jb_latency_s", "jb_answered_at", "jb_request")


def test_a_run_keeps_what_it_found_and_the_next_one_takes_it(grown: Flow, call):
    grown.run()
    path = grown.output / NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept(grown) == [False, True, True, True, True]
    views = results(grown)
    assert grown.run().exit_code == 0
    assert results(grown).equals(views)
    assert len(grown.emulator.attempts) == 20
    for verb in ("verify", "status", "export"):
        assert call(verb, grown.output).code == 0
    assert results(grown).equals(views)


def test_a_run_over_the_same_file_reads_its_rows_no_more_than_it_must(grown: Flow, monkeypatch):
    grown.run()
    looks, fingerprint = [], survey.fingerprint
    monkeypatch.setattr(survey, "fingerprint", lambda frame: looks.append(frame.height) or fingerprint(frame))
    job = bind(load_job(grown.job()), World(dict(os.environ)))
    assert told(job.survey()) == told(survey.survey(job.frames(), job.ask))
    assert looks == [4, *[4] * 5]
    grown.table.write_bytes(grown.table.read_bytes().replace(b"thing 9", b"other 9"))
    del looks[:]
    assert kept(grown) == [False, True, False, True, True]
    assert looks == [4] * 5


def test_a_small_job_leaves_its_directory_as_simple_as_it_was(flow: Flow):
    flow.run()
    assert not (flow.output / NAME).exists()


@pytest.mark.parametrize(
    "change", ["cell", "insert", "delete", "prompt", "model", "samples", "pack", "limit", "dedupe"]
)
def test_a_job_that_was_edited_comes_to_what_it_would_have_come_to(grown: Flow, tmp_path, change: str):
    grown.run()
    texts = [f"thing {n}" for n in range(20)]
    keys: dict[str, object] = {}
    options: dict[str, object] = {"yes": True}
    match change:
        case "cell":
            texts[9] = "new"
        case "insert":
            texts.insert(5, "new")
        case "delete":
            del texts[3:9]
        case "prompt":
            keys = {"prompt": "Say nothing about {{ text }}"}
        case "model":
            keys = {"model": ["llama-4-scout", "deepseek-chat"], "escalate": ["refusal"]}
        case "samples":
            keys = {"samples": 2}
        case "pack":
            keys = {"pack": 3}
        case "limit":
            options["limit"] = 10
        case "dedupe":
            keys = {"dedupe": False}
    grown.write(texts)
    grown.run(options, **keys)
    sent = len(grown.emulator.attempts)
    found, without = results(grown), Flow(tmp_path / "without")
    without.path.mkdir()
    shutil.copytree(grown.output, without.output, ignore=shutil.ignore_patterns(NAME))
    without.write(texts)
    without.emulator = grown.emulator
    without.run(options | {"fresh": False}, **keys)
    assert len(grown.emulator.attempts) == sent  # all that it asks about has an answer
    assert results(without).equals(found)


def test_a_plan_takes_what_was_kept_and_writes_nothing(grown: Flow):
    from journeybatch import api

    assert api.plan(grown.job()).requests == 20
    assert not grown.output.exists()
    grown.run()
    shutil.rmtree(grown.output / "requests", ignore_errors=True)
    before = {file: file.read_bytes() for file in grown.output.iterdir() if file.is_file()}
    grown.write([f"other {n}" for n in range(40)])
    assert api.plan(grown.job()).requests == 40
    assert {file: file.read_bytes() for file in grown.output.iterdir() if file.is_file()} == before


def test_what_is_asked_of_a_row_alone_depends_on_the_others_without_dedupe(grown: Flow):
    grown.write(["same"] * 20)
    grown.run(dedupe=False)
    assert not (grown.output / NAME).exists()
    assert len(grown.emulator.attempts) == 20


def test_a_register_that_is_wrong_stops_the_run_and_is_gone(grown: Flow, tmp_path):
    grown.run({"limit": 4})
    truth = bind(load_job(grown.job()), World(dict(os.environ))).survey()
    doctored(grown.output / NAME, truth, (9, 14))
    before = results(grown)
    report = grown.run()
    assert (report.exit_code, report.summary["stopped_by"]) == (3, "input")
    assert NAME in report.message
    assert results(grown).equals(before)
    assert not (grown.output / NAME).exists()
    report = grown.run()
    assert report.exit_code == 0
    assert len(grown.emulator.attempts) == 20
    whole = grown.results()
    grown.run(output=str(tmp_path / "whole"))
    right = pl.read_parquet(tmp_path / "whole" / "results.parquet")
    assert whole.select("text", "jb_key", "response").equals(right.select("text", "jb_key", "response"))


def test_a_full_disk_keeps_nothing_and_stops_nothing(grown: Flow, monkeypatch):
    rename = os.replace

    def full(source, to):
        if str(to).endswith(NAME):
            raise OSError(28, "No space left on device")
        rename(source, to)

    monkeypatch.setattr(os, "replace", full)
    assert grown.run().exit_code == 0
    assert [file.name for file in grown.output.iterdir() if NAME in file.name] == []


def test_a_directory_that_was_moved_is_read_with_what_was_kept_there(grown: Flow, call):
    grown.run()
    grown.output.rename(grown.path / "moved")
    before = pl.read_parquet(grown.path / "moved" / "results.parquet")
    assert call("export", grown.path / "moved").code == 0
    assert pl.read_parquet(grown.path / "moved" / "results.parquet").equals(before)


def test_rows_of_a_frame_are_known_again(grown: Flow):
    frame = pl.DataFrame({"text": [f"thing {n}" for n in range(20)]})
    grown.run(input=frame)
    job = bind(load_job(grown.job(input=frame)), World(dict(os.environ)), path=str(grown.output / "input.arrow"))
    assert job.survey().kept == [False, True, True, True, True]
    assert grown.run(input=frame.with_columns(text=pl.col("text").str.replace("thing 9", "new"))).exit_code == 0
    assert len(grown.emulator.attempts) == 21


def test_a_run_hands_over_what_it_found_before_it_sends(grown: Flow, monkeypatch):
    """So that one that is killed is carried on quickly."""
    seen = []
    begin = preparation.begin

    def begun(ready):
        yield from begin(ready)
        seen.append((grown.output / NAME).exists())

    monkeypatch.setattr("journeybatch.runner.begin", begun)
    grown.run()
    assert seen == [True]
