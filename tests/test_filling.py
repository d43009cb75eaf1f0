"""Prompts without the template engine: the same, word for word, or left to it."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from journeybatch import filling
from journeybatch.errors import TemplateError
from journeybatch.filling import Filling
from journeybatch.template import PromptTemplate

LAW = settings(deadline=None, max_examples=200)
COLUMNS = ["a", "b", "größe"]
FIXED = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text("{}%# \n\r\0abs", max_size=8)
CELLS = st.sampled_from(["{{ a }}", "{{b}}", "{{- größe }}", "{{ a -}}", "{{+ b +}}", "{{\na\n}}"])
SOURCES = st.lists(FIXED | CELLS, max_size=6).map("".join)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("{}%# \n\0as", max_size=12)


def filling_of(*sources: str, columns: list[str] | None = None) -> Filling | None:
    messages = [("user", source) for source in sources]
    return Filling.of(messages, PromptTemplate(messages, columns or COLUMNS).render)


def by_the_engine(prompt: PromptTemplate, frame: pl.DataFrame) -> list[object]:
    return [prompt.render(row) for row in frame.iter_rows(named=True)]


@LAW
@given(st.lists(SOURCES, min_size=1, max_size=3), st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=4))
def test_what_is_filled_in_is_what_the_engine_makes(sources, rows):
    messages = [(("system", "user", "assistant")[place], source) for place, source in enumerate(sources)]
    try:
        prompt = PromptTemplate(messages, COLUMNS)
    except TemplateError:
        reject()
    filled = Filling.of(messages, prompt.render)
    assume(filled is not None)
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    assert list(filled.fill(frame)) == by_the_engine(prompt, frame) == list(prompt.render_batch(frame))


@pytest.mark.parametrize(
    "source",
    ["{{ a }}", "Say {{ a }} and {{ b }}, {{ a }}!", "100 % of {{ größe }} {a} }}", "  {{- a -}}  \n", "{{ a }}\n\n"],
)
def test_cells_between_fixed_texts_need_no_engine(source):
    assert filling_of(source) is not None
    assert filling_of("You are kind.", source) is not None


@pytest.mark.parametrize(
    "source",
    [
        "nothing to fill in",
        "{{ a | upper }}",
        "{{ a ~ b }}",
        "{{ row['a'] }}",
        "{{ row }}",
        "{% if a %}{{ a }}{% endif %}",
        "{% raw %}{{ a }}{% endraw %}",
        "{{ a }}{# b #}",
        "{{ a }}{# {{ b }} #}",
        "{{ 'a' }}",
        "\0a\0 {{ a }}",
    ],
)
def test_what_does_more_than_print_a_cell_is_the_engines_work(source):
    assert filling_of(source) is None
    assert filling_of("{{ b }}", source) is None or "{" not in source


def test_a_column_with_the_name_of_a_constant_is_not_what_its_name_means():
    columns = ["true", "none", "a"]
    assert filling_of("{{ true }}", columns=columns) is None
    prompt = PromptTemplate([("user", "{{ true }}")], columns)
    frame = pl.DataFrame({"true": ["x"], "none": ["y"], "a": ["z"]})
    assert list(prompt.render_batch(frame)) == by_the_engine(prompt, frame)


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("a", ["x", None]),
        pl.Series("a", [1, 2]),
        pl.Series("a", ["x", "y"], dtype=pl.Categorical),
        pl.Series("a", ["x", "y" * filling.SHORT]),
    ],
)
def test_a_block_with_a_cell_that_is_no_short_text_is_the_engines_work(column):
    filled = filling_of("{{ a }}.")
    assert filled is not None
    assert filled.fill(column.to_frame()) is None
    assert filled.fill(pl.DataFrame({"a": ["x", "y"]})) is not None


def test_all_messages_together_are_short():
    filled = filling_of("{{ a }}", "{{ a }}{{ a }}")
    assert filled is not None
    assert filled.fill(pl.DataFrame({"a": ["x" * (filling.SHORT // 3)]})) is not None
    assert filled.fill(pl.DataFrame({"a": ["x" * (filling.SHORT // 3 + 1)]})) is None


def test_fixed_texts_count_as_well():
    for size, short in ((filling.SHORT - 1, True), (filling.SHORT, False)):
        filled = filling_of("x" * size + "{{ a }}")
        assert filled is not None
        assert (filled.fill(pl.DataFrame({"a": ["y"]})) is not None) == short


def test_an_empty_block_has_no_messages():
    filled = filling_of("Say {{ a }}")
    assert filled is not None
    assert list(filled.fill(pl.DataFrame({"a": pl.Series([], dtype=pl.String)}))) == []
