"""docs/ as a site: every page and link is there, nothing is asked of the network, and the search finds things."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-site" / "bin" / "python"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="needs the site's generator: make site")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does: a link that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [PYTHON, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", ROOT / "docs" / "site", ROOT / "docs", folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_stands_in_the_site_and_in_its_contents(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")]
    assert len(pages) > 20
    index = (site / "index.html").read_text("utf-8")
    for page in pages:
        assert (site / page.with_suffix(".html")).exists(), page
        assert page.name == "index" or re.search(f'class="toctree-l1"><a [^>]*href="{page}.html', index), page


def test_every_page_has_a_search_box_and_asks_nothing_of_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        assert 'placeholder="Search"' in text, page
        assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"'](?:https?:)?//[^>]*>", text) == [], page
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text("utf-8")) == [], style


def test_a_broken_link_would_be_told(site: Path, tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# A page\n\n[nowhere](nowhere.md)\n", "utf-8")
    command = [PYTHON, "-m", "sphinx", "-q", "-W", "-c", ROOT / "docs" / "site", tmp_path, tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert "nowhere" in done.stderr


@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium: apt-get install chromium")
def test_the_search_finds_pages_from_a_disk_without_a_server(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((site / "index.html").as_uri())
        tab.get_by_placeholder("Search").fill("escalate")
        tab.keyboard.press("Enter")
        found = tab.locator("#search-results li a").first
        found.wait_for(timeout=20_000)
        listed = tab.locator("#search-results").inner_text()
        browser.close()
    assert "cascade" in listed.lower(), json.dumps(listed)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
