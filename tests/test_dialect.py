"""What a template's source asks for."""

from __future__ import annotations

import minijinja
import pytest

from journeybatch import dialect
from journeybatch.errors import TemplateError


@pytest.mark.parametrize(
    ("source", "safe"),
    [
        ("{{ x[:2] }}", "{{ (x|cell)[:2] }}"),
        ("{{ x.y[1:] }}", "{{ (x.y|cell)[1:] }}"),
        ("{{ row['a:b'][1:n] }}", "{{ (row['a:b']|cell)[1:n] }}"),
        ("{% if x[:1] == 'w' %}x[:1]{% endif %}", "{% if (x|cell)[:1] == 'w' %}x[:1]{% endif %}"),
    ],
)
def test_a_slice_asks_for_its_cell_first(source, safe):
    assert dialect.guarded(source, "cell") == safe


@pytest.mark.parametrize(
    "source",
    [
        "x[:2]",
        "{{ 'x[:2]' }}",
        "{# x[:2] #}",
        "{% raw %}{{ x[:2] }}{% endraw %}",
        "{{ x[0] }}",
        "{{ x['a:b'] }}",
        "{% if x in ['q:', 'w'] %}{% endif %}",
        "{% for i in [{'a': 1}] %}{% endfor %}",
        "{{ {'a': [1]}['a'] }}",
    ],
)
def test_what_is_no_slice_of_a_cell_is_left_alone(source):
    assert dialect.guarded(source, "cell") == source


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ a }} b", {"a"}),
        ("{{ a[:b] }}", {"a", "b"}),
        ("{{ x.a | f(b) }}", {"x", "b"}),
        ("{{ row['My column'] }}", {"row", "My column"}),
        ("{{ row.a }}{{ row.b[:2] }}", {"row", "a", "b"}),
        ("{{ row | items }}", {"row", "a", "b", "x", "My column"}),
        ("{{ row[a] }}", {"row", "a", "b", "x", "My column"}),
        ("{{ 'a' }}{# b #}", set()),
    ],
)
def test_the_columns_a_template_may_ask_for(source, names):
    undeclared = minijinja.Environment().undeclared_variables_in_str
    assert dialect.used(source, undeclared, ("a", "b", "x", "My column"), "the prompt") == names


def test_blocks_are_found_with_their_lines():
    source = "a\n{{ '}}' }}\n{# {{ no }} #}{% raw %}{{ no }}{% endraw %}\n{%- if x -%}"
    assert list(dialect.code(source)) == [("{{ '}}' }}", 2), ("{%- if x -%}", 4)]


def test_a_refusal_names_its_place():
    with pytest.raises(TemplateError, match="message 2, line 2: there is no filter called 'f'"):
        dialect.refuse("\n{{ a | f }}", lambda kind, name: (kind, name) != ("filter", "f"), "message 2")
