"""Prompt templates: strict, bounded, deterministic; cells are data."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch import template
from journeybatch.errors import TemplateError
from journeybatch.records import Message
from journeybatch.template import PromptTemplate

LAW = settings(deadline=None, max_examples=150)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text("{}%# abx'\"|", max_size=12)


def rendered(source: str, **row: object) -> str:
    (message,) = PromptTemplate([("user", source)], list(row)).render(row)
    return message.content


def refused(source: str, **row: object) -> str:
    """Why one row cannot be rendered, of a template that compiles."""
    prompt = PromptTemplate([("user", source)], list(row))
    with pytest.raises(TemplateError) as error:
        prompt.render(row)
    return str(error.value)


def invalid(source: str, *columns: str) -> str:
    """Why a template is wrong for every row."""
    with pytest.raises(TemplateError) as error:
        PromptTemplate([("user", source)], columns)
    return str(error.value)


# Messages


def test_messages_keep_their_roles_and_order():
    prompt = PromptTemplate(
        [("system", "Be {{ tone }}."), ("user", "{{ q }}"), ("assistant", "Hm")], ["q", "tone", "z"]
    )
    assert prompt.variables == ("q", "tone")
    assert prompt.render({"q": "Why?", "tone": "brief"}) == (
        Message("system", "Be brief."),
        Message("user", "Why?"),
        Message("assistant", "Hm"),
    )


def test_only_the_last_newline_of_a_block_is_dropped():
    assert rendered("a\n{{ x }}\n\n", x="b\n") == "a\nb\n\n"


# Cells are data


@LAW
@given(TEXT)
def test_a_cell_is_never_rendered_again(cell):
    assert rendered("<{{ x }}>", x=cell) == f"<{cell}>"
    assert rendered("<{{ row['x'] ~ '' }}>", x=cell) == f"<{cell}>"


@pytest.mark.parametrize("cell", ["{{ y }}", "{% include 'x' %}", "{# gone #}", "{{ y", "<b>&amp;</b>"])
def test_template_syntax_and_markup_in_a_cell_stay_as_they_are(cell):
    assert rendered("{{ x }}{{ x | replace('q', x) }}", x=cell, y="secret") == cell * 2


@pytest.mark.parametrize(
    "source",
    [
        "{{ x.__class__ }}",
        "{{ x['__class__'] }}",
        "{{ x | attr('__class__') }}",
        "{{ x.__len__() }}",
        "{{ x.upper() }}",
        "{{ x.append(1) }}",
        "{{ x.clear() }}",
        "{{ x.keys() }}",
        "{{ x.items() }}",
        "{{ x.pop('a') }}",
        "{{ x.__init_subclass__() }}",
        "{{ x._items }}",
        "{{ x._fields }}",
        "{{ x() }}",
    ],
)
@pytest.mark.parametrize("value", ["text", 7, 1.5, True, ["a"], {"a": 1}, date(2024, 1, 2), Decimal(1)])
def test_nothing_of_python_can_be_reached(source, value):
    before = repr(value)
    refused(source, x=value)
    assert repr(value) == before


def test_a_fields_own_name_wins_over_everything():
    assert rendered("{{ x.keys }} {{ x.items }}", x={"keys": 1, "items": 2}) == "1 2"


# Null cells

HANDLED = {
    "{% if x %}a{% else %}b{% endif %}": "b",
    "{% if not x %}b{% endif %}": "b",
    '{{ x or "none given" }}': "none given",
    '{{ x | default("none given") }}': "none given",
    '{{ x | default("none given", true) }}': "none given",
    '{{ x if x else "-" }}': "-",
    '{{ x[:20] if x else "-" }}': "-",
    "{% if x is none %}b{% endif %}": "b",
    "{% if x is not none %}a{% endif %}": "",
    "{% if x is defined %}a{% endif %}": "",
    "{{ x is none }}": "True",
    '{{ row["x"] or "-" }}': "-",
    '{{ row.x | default("-") }}': "-",
    '{% set y = x or "-" %}{{ y }}': "-",
    "{{ row | tojson }}": '{"z": "seen"}',
    "{% for name, cell in row | items %}{{ name }}={{ cell }};{% endfor %}": "z=seen;",
}
LEAKS = [
    *("{{ x }}", "{{ x ~ 'a' }}", "{{ 'a' ~ x }}", "{{ x | upper }}", "{{ x | string }}", "{{ x | trim }}"),
    *("{{ x | tojson }}", "{{ x | join }}", "{{ [x, 'a'] | join(',') }}", "{{ ['a', 'b'] | join(x) }}"),
    *("{{ [x] }}", "{{ (x, 1) }}", "{{ {'a': x} }}", "{{ {'a': x} | tojson }}", "{{ [[x]] }}", "{{ dict(a=x) }}"),
    *("{{ '%s' | format(x) }}", "{{ x | safe }}", "{{ x | e }}", "{{ x | escape }}", "{{ x | urlencode }}"),
    *("{{ x | indent }}", "{{ x | truncate }}", "{{ x | wordwrap }}", "{{ x | length }}", "{{ x | count }}"),
    *("{{ x | title }}", "{{ x | capitalize }}", "{{ x | lower }}", "{{ x | replace('a', 'b') }}", "{{ x | list }}"),
    *("{{ x[:20] }}", "{{ x[:20] ~ '…' }}", "{{ x[0] }}", "{{ row['x'][:20] }}", "{{ row.x[1:] | upper }}"),
    *("{{ (x | trim)[:20] }}", "{{ x.y }}", "{{ x + 1 }}", "{{ x * 2 }}", "{{ -x }}", "{{ x == 'a' }}", "{{ x > 1 }}"),
    *("{{ x in ['a'] }}", "{{ 'a' in x }}", "{{ x and 'a' }}", "{{ 1 and x }}", "{{ x if true else 1 }}"),
    *("{% for c in x %}{{ c }}{% endfor %}", "{% for c in [x] %}{{ c }}{% endfor %}", "{% set y = x %}{{ y }}"),
    *("{% set x = x | trim %}{{ x }}", "{% with a = x %}{{ a }}{% endwith %}", "{% set y %}{{ x }}{% endset %}"),
    *("{% filter upper %}{{ x }}{% endfilter %}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(x) }}"),
    *("{{ row['x'] }}", "{{ row.x ~ '' }}", "{{ [x] | first }}", "{{ [x] | map('upper') | list }}", "{{ x | first }}"),
    *("{{ [x, 'a'] | sort }}", "{{ [x] | list }}", "{{ {'a': x} | items | list }}", "{{ {'a': x} | dictsort }}"),
    *("{{ namespace(a=x).a }}", "{{ none }}"),
]


@pytest.mark.parametrize(("source", "text"), HANDLED.items())
def test_a_null_that_the_template_handles_is_no_problem(source, text):
    assert rendered(source, x=None, z="seen") == text


@pytest.mark.parametrize("source", LEAKS)
def test_a_null_that_the_template_does_not_handle_is_a_problem_of_its_row(source):
    refused(source, x=None)


def test_the_reason_names_the_cell_and_the_way_out():
    assert refused("{{ review }}", review=None) == (
        'review is null or missing; handle it with {{ review or "…" }} or {% if review %}'
    )
    assert refused("{{ row['My text'] }}", **{"My text": None}).startswith("row['My text'] is null or missing")


def test_an_empty_text_is_no_null():
    assert rendered("<{{ x }}>{{ x is none }}", x="") == "<>False"


def test_a_null_cell_does_not_uncover_a_function_of_its_name():
    for name in ("range", "dict", "namespace", "cycler", "joiner"):
        refused(f"{{{{ {name} }}}}", **{name: None})


# Columns


def test_an_unknown_variable_names_the_nearest_column_and_lists_all():
    assert invalid("{{ reveiw }}", "id", "review") == (
        "the prompt: no column is called 'reveiw'; did you mean 'review'? (columns: id, review)"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ reveiw[:20] }}",
        "{{ row.reveiw }}",
        "{{ row['reveiw'] }}",
        "{{ row['reveiw'][:9] }}",
        "{% if reveiw %}{% endif %}",
    ],
)
def test_a_misspelt_column_is_found_before_the_first_row(source):
    assert "did you mean 'review'?" in invalid(source, "id", "review")


def test_columns_that_are_no_identifiers_are_reached_through_row():
    cells = {"My column": "A", "b-c": "B", "größe": "C", "a:b": "D"}
    source = "{{ row['My column'] }}{{ row[\"b-c\"] }}{{ größe }}{{ row['a:b'] }}"
    assert rendered(source, **cells) == "ABCD"
    assert PromptTemplate([("user", "{{ row['b-c'] }}")], list(cells)).variables == ("b-c",)


def test_a_column_called_row_is_that_column():
    assert rendered("{{ row }}", row="mine") == "mine"


def test_a_row_that_is_asked_for_by_a_computed_name_brings_all_columns():
    prompt = PromptTemplate([("user", "{{ row[which] }}")], ["which", "a", "b"])
    assert prompt.variables == ("which", "a", "b")
    assert prompt.render({"which": "b", "a": 1, "b": 2})[0].content == "2"
    with pytest.raises(TemplateError, match="null or missing"):
        prompt.render({"which": "zz", "a": 1, "b": 2})


@pytest.mark.parametrize(
    "source",
    [
        "{{ x[:2] }}",
        "{{ (x | trim)[:2] }}",
        "{% set x = x | trim %}{{ x }}",
        "{% filter replace(x, 'a') %}b{% endfilter %}",
        "{% for c in x %}{{ c }}{% endfor %}",
        "{% if 'a' in x %}b{% endif %}",
        "{{ row.x }}",
    ],
)
def test_every_way_to_use_a_column_counts_as_using_it(source):
    assert PromptTemplate([("user", source)], ["x", "unused"]).variables == ("x",)


def test_names_the_template_makes_itself_are_no_columns():
    source = "{% if x %}{% set y, z = 1, 2 %}{% endif %}{% for i in range(2) %}{{ i + y }}{% endfor %}"
    source += "{% macro f(a) %}{{ a }}{{ caller() }}{% endmacro %}{% call f(z) %}!{% endcall %}"
    assert rendered(source, x=1) == "122!"


def test_text_outside_of_blocks_may_look_like_anything():
    source = (
        "it's | foo is bar, row['zz'] x[1:] {# {{ zz }} #}{% raw %}{{ zz | zz }}{% endraw %}{{ \"y[1:] | zz is zz\" }}"
    )
    assert rendered(source, y="") == "it's | foo is bar, row['zz'] x[1:] {{ zz | zz }}y[1:] | zz is zz"


# What a template may not do


@pytest.mark.parametrize(
    "source", ["{% include 'a' %}", "{%- extends 'a' %}", "{% import 'a' as a %}", "{% from 'a' import b %}"]
)
def test_other_files_are_out_of_reach(source):
    assert "a prompt cannot load other files" in invalid("ok\n" + source)
    assert "line 2" in invalid("ok\n" + source)


def test_a_syntax_error_names_message_and_line():
    with pytest.raises(TemplateError, match=r"message 2 \(user\), line 3: "):
        PromptTemplate([("system", "ok"), ("user", "a\nb\n{{ x + }}")], ["x"])
    assert invalid("{{ x", "x").startswith("the prompt, line 1: ")


def test_unknown_filters_and_tests_are_found_in_branches_no_row_takes():
    assert invalid("{% if false %}\n{{ x | uper }}{% endif %}", "x") == (
        "the prompt, line 2: there is no filter called 'uper'"
    )
    assert invalid("{{ 1 if x is not strng else 2 }}", "x") == "the prompt, line 1: there is no test called 'strng'"


@pytest.mark.parametrize("name", ["now", "random", "lipsum", "debug", "randrange", "environ"])
def test_there_is_no_clock_no_randomness_and_no_look_inside(name):
    invalid(f"{{{{ {name}() }}}}")
    invalid(f"{{{{ [1, 2] | {name} }}}}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ '%1000000000d' | format(1) }}",
        "{% set a = x %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
        "{% set ns = namespace(a=x) %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
        "{% macro f(s, n) %}{% if n %}{{ f(s ~ s, n - 1) }}{% endif %}{% endmacro %}{{ f(x, 60) }}",
        "{% set a = x * 100 %}" + "{% set a = a | replace('b', a) %}" * 9,
        "{{ x | indent(1000000000) }}",
    ],
)
def test_work_is_bounded_by_fuel(source):
    assert "too much work" in refused(source, x="abc")


def test_endless_recursion_ends():
    assert "recursion" in refused("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(1) }}", x="")


def test_a_prompt_has_a_size_limit_over_all_its_messages():
    half = "x" * (template.SIZE // 2 + 1)
    assert len(rendered("{{ x }}", x=half)) == len(half)
    prompt = PromptTemplate([("system", "{{ x }}"), ("user", "{{ x }}")], ["x"])
    with pytest.raises(TemplateError, match="4,194,304 is the most"):
        prompt.render({"x": half})


def test_a_large_cell_within_the_limit_has_fuel_for_a_filter_or_two():
    cell = "x" * 1_000_000
    assert rendered("{{ x | trim | upper ~ '!' }}", x=cell) == cell.upper() + "!"


# Values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (2**70, str(2**70)),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e22, "1" + "0" * 22 + ".0"),
        (True, "True"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1.50"), "1.50"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),
        (["a", 1, None, date(2024, 1, 2)], '["a", 1, null, "2024-01-02"]'),
        ({"city": "Zürich", "zip": None}, '{"city": "Zürich", "zip": null}'),
        ([], "[]"),
    ],
)
def test_values_print_plainly(value, text):
    assert rendered("{{ x }}", x=value) == text


def test_numbers_can_be_reckoned_with():
    assert rendered("{% if n > 2 %}{{ n * 2 }} {{ f / 2 }}{% endif %}", n=3, f=1.0) == "6 0.5"


def test_lists_and_structs_are_open_to_the_template():
    cells = {"tags": ["a", None, "b"], "place": {"city": "Z", "of": {"pop": 3}, "zip": None}}
    assert rendered("{% for tag in tags %}{{ tag or '-' }}{% endfor %}", **cells) == "a-b"
    assert rendered("{{ tags | select | join('+') }} {{ tags | length }} {{ 'a' in tags }}", **cells) == "a+b 3 True"
    assert rendered("{{ place.city }}{{ place.of.pop + 1 }}{{ place['city'] }}", **cells) == "Z4Z"
    assert rendered("{% for k, v in place.of | items %}{{ k }}={{ v }}{% endfor %}", **cells) == "pop=3"
    assert "place.zip is null or missing" in refused("{{ place.zip }}", **cells)
    assert "null" in refused("{{ tags | join }}", **cells)


def test_json_of_a_cell_is_readable_and_unescaped():
    assert rendered("{{ x | tojson }}", x="<é>'") == '"<é>\'"'


def test_bytes_are_refused():
    assert "bytes" in refused("{{ x }}", x=b"x")


# Batches


def test_a_batch_gives_every_row_its_messages_or_its_error_in_order():
    frame = pl.DataFrame({"n": [1, 2, 3], "text": ["a", None, "c"]})
    prompt = PromptTemplate([("user", "{{ text }}")], frame.columns)
    first, second, third = prompt.render_batch(frame)
    assert (first, third) == ((Message("user", "a"),), (Message("user", "c"),))
    assert isinstance(second, TemplateError)


def test_a_prompt_without_variables_still_counts_the_rows():
    frame = pl.DataFrame({"n": [1, 2, 3]})
    assert list(PromptTemplate([("user", "hi")], frame.columns).render_batch(frame)) == [(Message("user", "hi"),)] * 3


def test_polars_types_come_through():
    frame = pl.DataFrame(
        {
            "d": pl.Series([Decimal("2.50")], dtype=pl.Decimal(10, 2)),
            "l": [[1, 2]],
            "s": [{"a": [date(2024, 1, 2)]}],
            "c": pl.Series(["k"], dtype=pl.Categorical),
        }
    )
    prompt = PromptTemplate([("user", "{{ d }} {{ l[1] }} {{ s.a[0] }} {{ c }} {{ s }}")], frame.columns)
    assert next(prompt.render_batch(frame)) == (Message("user", '2.50 2 2024-01-02 k {"a": ["2024-01-02"]}'),)


@LAW
@given(st.dictionaries(st.sampled_from("abc"), TEXT | st.none() | st.integers(), min_size=3, max_size=3))
def test_the_same_row_gives_the_same_prompt(row):
    source = "{% for k, v in row | items %}{{ k }}: {{ v }}\n{% endfor %}{{ row | tojson }}"
    assert rendered(source, **row) == rendered(source, **row)


def test_prompts_do_not_depend_on_the_hash_seed():
    code = (
        "from journeybatch.template import PromptTemplate as P\n"
        "row = {'b': 'x', 'a': {'z': 1, 'y': 2}, 'c': None}\n"
        "source = '{{ row }}{% for k in row %}{{ k }}{% endfor %}{{ a }}{{ [b, b] | unique | list }}'\n"
        "print(P([('user', source)], list(row)).render(row))"
    )
    outputs = set()
    for seed in ("1", "2", "3"):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        outputs.add(run.stdout)
    assert len(outputs) == 1
