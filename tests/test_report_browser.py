"""The rows one looks through, and how they travel inside the page."""

from __future__ import annotations

import base64
import json
import re
import zlib

from hypothesis import given
from hypothesis import strategies as st

from journeybatch.report.browser import Browser, Reply, Row, Texts, packed


def unpacked(text):
    return json.loads(zlib.decompress(base64.b64decode(text)))


def browser(text="said", rows=3):
    replies = (Reply("answered", text), Reply("failed", error="invalid"))
    made = tuple(Row(n, (text, None), (("user", 0),), replies, (0,)) for n in range(rows))
    return Browser(("a", "b"), (), ("A", "B"), (), (text,), made)


@given(st.text())
def test_any_text_comes_out_as_it_went_in_and_means_nothing_to_html(text):
    made = packed(browser(text))
    assert re.fullmatch(r"[A-Za-z0-9+/=]*", made)
    data = unpacked(made)
    named = dict(zip(data["shapes"]["reply"], data["rows"][0][3][0], strict=True))
    assert (named["text"], data["texts"][0], data["rows"][0][1]) == (text, text, [text, None])


def test_every_value_has_a_name_in_its_shape():
    data = unpacked(packed(browser()))
    assert len(data["shapes"]["row"]) == len(data["rows"][0])
    assert len(data["shapes"]["reply"]) == len(data["rows"][0][3][1])


def test_a_text_that_is_said_often_is_kept_once():
    texts = Texts()
    assert [texts.place(text) for text in ("system", "one", "system", "two")] == [0, 1, 0, 2]
    assert texts.all == ("system", "one", "two")
