"""Charts: drawn without a browser and without a network."""

from __future__ import annotations

import struct
from xml.etree import ElementTree

import pytest

from journeybatch.errors import JobError
from journeybatch.report import charts

BINS = [(0.0, 0.5, 3), (0.5, 1.0, 0), (1.0, 1.5, 7)]
HOSTILE = "</svg><script>alert(1)</script><img src=x onerror=1>"


def test_a_drawing_is_shapes_and_texts_and_nothing_else():
    drawn = charts.svg(charts.histogram(BINS, HOSTILE, HOSTILE))
    root = ElementTree.fromstring(drawn)
    tags = {element.tag for element in root.iter()}
    assert tags <= {"svg", "g", "defs", "clipPath", "path", "line", "rect", "circle", "text", "tspan"}
    assert "<script" not in drawn and "onerror" in drawn  # as text
    assert not any(name.startswith("on") or "href" in name for element in root.iter() for name in element.attrib)


def test_colours_are_the_pages_variables():
    drawn = charts.svg(charts.stacked([(0, 1, {"a": 1, "b": 2})], {"a": "accent", "b": "bad"}, "x", "y"))
    assert "var(--chart-accent)" in drawn and "var(--chart-bad)" in drawn
    assert "#" not in drawn.replace("url(#", "")


def test_two_drawings_share_no_id():
    ids = []
    for _ in range(2):
        root = ElementTree.fromstring(charts.svg(charts.series([("a", 1), ("b", 2)], "x", "y")))
        ids += [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_an_image_is_a_png_twice_as_wide_as_the_drawing():
    image = charts.png(charts.histogram(BINS, "seconds", "replies"))
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    width = struct.unpack(">I", image[16:20])[0]
    assert 2 * charts.WIDE <= width <= 2 * charts.WIDE + 60


def test_without_the_library_images_say_what_to_install(monkeypatch):
    monkeypatch.setattr(charts, "find_spec", lambda _: None)
    with pytest.raises(JobError, match=r"pip install 'journeybatch\[report\]'"):
        charts.png(charts.histogram(BINS, "x", "y"))
