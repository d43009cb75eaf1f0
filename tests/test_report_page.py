"""A Page as HTML: every text as text, and nothing asked of anyone."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.report import charts
from journeybatch.report.blocks import Bar, Chart, Column, Example, Links, Page, Section, Sentence, Table, Text
from journeybatch.report.browser import Browser, Reply, Row
from journeybatch.report.page import html, write_images, write_page
from journeybatch.report.words import visible

TABLE = Table((Column("Name"), Column("Number", numeric=True)), (("one", "1"),), "A table")
CHART = Chart("latency", "Time", "Half came soon.", charts.histogram([(0, 1, 2), (1, 2, 3)], "s", "n"), TABLE)


def page(text="a text", blocks=(), browser=None):
    sections = (Section("section", text, blocks),)
    return Page(text, text, text, (Sentence(text, warning=True),), ((text, text),), sections, browser)


class Parsed(HTMLParser):
    """Tags by how often they open, all attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.tags and self.tags[-1] not in ("script", "style"):
            self.texts.append(data)


def everything(text):
    rows = (((text), Bar(0.5), Links((1,))), (Text(text, quiet=True), Bar(1, bad=True), Links(())))
    columns = (Column(text), Column(""), Column(text, numeric=True))
    return page(text, (Table(columns, rows, text), Sentence(text), Example(3, text, text, failed=True)))


PLAIN = Parsed(html(everything("plain")))


@settings(max_examples=60)
@given(st.text(st.sampled_from("<>&\"'`/=! \n{}%#-ascriptonerrorimg\u2028\x00\u202e")))
def test_whatever_a_text_says_the_page_has_the_same_elements(text):
    parsed = Parsed(html(everything(text or "x")))
    codes = parsed.tags.count("code")
    assert [tag for tag in parsed.tags if tag != "code"] == [tag for tag in PLAIN.tags if tag != "code"]
    assert codes <= 2 * text.count("`")
    assert not any(name.startswith("on") or name in ("src", "style") for name, _ in parsed.attributes)


def test_a_hostile_text_is_all_there_as_text():
    text = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>&lt;"
    parsed = Parsed(html(everything(text)))
    assert "".join(parsed.texts).count(text) >= 10
    assert "img" not in parsed.tags and parsed.tags.count("script") == 1


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else():
    text = html(page())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(inside) == 1
        assert f"{tag}-src 'sha256-{b64encode(sha256(inside[0].encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_the_page_names_no_other_place():
    text = html(page(blocks=(CHART,)))
    places = set(re.findall(r"(?:https?:)?//[\w.-]+", re.sub(r"//.*$", "", text, flags=re.MULTILINE)))
    assert places <= {"http://www.w3.org"}  # the namespace of drawings


def test_commands_are_set_as_code_and_lone_backticks_stay():
    text = html(page(blocks=(Sentence("say `run <JOB>` twice"), Sentence("a ` alone"))))
    assert "say <code>run &lt;JOB&gt;</code> twice" in text
    assert '<p class="prose">a ` alone</p>' in text


def test_a_chart_has_a_table_beside_it(monkeypatch):
    drawn = html(page(blocks=(CHART,)))
    assert drawn.count("<svg") == 2 and "<summary>Time as a table</summary>" in drawn
    monkeypatch.setattr(charts, "find_spec", lambda _: None)
    plain = html(page(blocks=(CHART,)))
    assert "<svg" not in plain and "<details" not in plain and "A table" in plain


def test_a_page_is_written_whole_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_page(page(), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text("utf-8").rstrip().endswith("</html>")
    assert [other.name for other in tmp_path.iterdir()] == ["report.html"]


def test_images_go_into_a_directory_or_beside_a_prefix(tmp_path):
    assert write_images([CHART], str(tmp_path)) == [tmp_path / "latency.png"]
    assert write_images([CHART], str(tmp_path / "night")) == [tmp_path / "night-latency.png"]
    assert (tmp_path / "night-latency.png").read_bytes()[:4] == b"\x89PNG"


def test_a_text_stays_what_it_is_but_for_controls():
    assert visible("\x1b[31mred\x00") in "".join(Parsed(html(page("\x1b[31mred\x00"))).texts)


@pytest.mark.parametrize(("rows", "most"), [(1319, 10e6)])
def test_1319_rows_of_four_replies_are_a_small_file(rows, most):
    random = Random(1)
    words = ["".join(random.choices("etaoinshrdlu", k=random.randint(2, 9))) for _ in range(3000)]

    def said(length):
        return " ".join(random.choices(words, k=length))

    made = tuple(
        Row(n, (said(45),), (("user", n),), tuple(Reply("answered", said(150)) for _ in range(4))) for n in range(rows)
    )
    text = html(page(browser=Browser(("q",), (), tuple("ABCD"), (), tuple(said(45) for _ in range(rows)), made)))
    assert len(text) < most
