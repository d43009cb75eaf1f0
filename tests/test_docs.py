"""Documentation that could go stale is checked against what it describes."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from conftest import Flow

DOCS = Path(__file__).parent.parent / "docs"
PAGES = runpy.run_path(str(DOCS / "generate.py"))["pages"]()
ROOT = DOCS.parent
WRITTEN = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_generated_page_is_what_make_docs_would_write(page):
    assert page.read_text("utf-8") == PAGES[page]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        path = page if not name else (page.parent / name).resolve()
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, target


@pytest.mark.parametrize("library", ["polars", "pandas", "duckdb"])
def test_the_line_that_brings_results_into_a_library_does(library: str, flow: Flow) -> None:
    page = (DOCS / "how-to" / "other-tools.md").read_text("utf-8").partition("## Results elsewhere")[2]
    (line,) = [line for line in page.splitlines() if line.startswith(f"{library}.")]
    flow.run(answer={"column": "sentiment"})
    results = flow.output / "results.parquet"
    made = eval(line.replace("runs/review-sentiment/results.parquet", str(results)), {library: __import__(library)})
    found = made.fetchall() if library == "duckdb" else made
    if library == "duckdb":
        assert sum(credits for _, credits in found) == 12
    else:
        assert (len(found), found["jb_credits"].sum()) == (12, 12)


def test_every_page_is_in_the_contents():
    """Of which the site makes its own: a page that is not there stops it from being built."""
    index = (DOCS / "index.md").read_text("utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page.name != "index.md"]
    assert pages
    assert [page for page in pages if f"]({page})" not in index] == []
