"""Charts: drawn without a browser and without a network."""

from __future__ import annotations

import struct
from itertools import pairwise
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


def test_labels_of_points_that_are_close_stand_under_each_other():
    points = [("a", 100, 50.0, True), ("b", 100, 50.1, False), ("c", 100, 49.9, False), ("d", 20, 10.0, True)]
    layers = charts.front(points, "credits", "score")["layer"][3:]
    span = charts.front(points, "credits", "score")["encoding"]["y"]["scale"]["domain"]
    scale = (charts.FRONT - 50) / (span[1] - span[0])
    heights = [(span[1] - layer["data"]["values"][0]["y"]) * scale + layer["mark"]["dy"] for layer in layers]
    assert [layer["data"]["values"][0]["label"] for layer in layers] == ["b", "a", "c", "d"]
    assert all(lower - upper >= 13 for upper, lower in pairwise(heights))
    assert {layer["mark"]["align"] for layer in layers} == {"left", "right"}


@pytest.mark.parametrize(
    "spec",
    [
        charts.whiskers([(HOSTILE, 50, 40, 60), ("b", 5, 5, 5)], HOSTILE),
        charts.front([(HOSTILE, 0, 0, True)], HOSTILE, HOSTILE),
        charts.front([("a", 4, -3, True), (HOSTILE, 4, -3, False)], "x", "y"),
    ],
)
def test_whiskers_and_fronts_are_drawn_in_the_pages_colours_and_names_are_texts(spec):
    drawn = charts.svg(spec, charts.NARROW)
    tags = {element.tag for element in ElementTree.fromstring(drawn).iter()}
    assert tags <= {"svg", "g", "defs", "clipPath", "path", "line", "rect", "circle", "text", "tspan"}
    assert "#" not in drawn.replace("url(#", "") and "var(--chart-ink)" in drawn
    assert charts.png(spec)[:4] == b"\x89PNG"
