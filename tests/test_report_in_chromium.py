"""The page in a real browser: looking through rows, keys, links, the dark, a phone, print, and hostile texts."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from appraised import appraised
from axe_playwright_python.sync_playwright import Axe
from conftest import KEY, Flow
from playwright.sync_api import Page as Tab
from playwright.sync_api import sync_playwright

from journeybatch.cli.looking import history_of, spec_of
from journeybatch.emulator import Emulator, Faults
from journeybatch.report import blocks
from journeybatch.report.browser import Browser, Mark, Reply, Row, Score
from journeybatch.report.evaluation import evaluation_page
from journeybatch.report.evidence import Evidence
from journeybatch.report.page import write_page
from journeybatch.report.run import run_page
from journeybatch.summary import read_summary

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("no Chromium on this machine: apt-get install chromium", allow_module_level=True)

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<!-- <svg onload=document.title='owned'> &lt;b&gt; javascript:alert(1) \u2028 `code` {{ 7*7 }}"
)
PHONE = {"width": 360, "height": 740}


def run_of(folder: Path, texts: list[str], emulator: Emulator | None = None, **keys: object) -> Path:
    """The page of a run on the emulator."""
    flow = Flow(folder)
    flow.emulator = emulator or Emulator()
    flow.write(texts)
    flow.run(**{"limits": {"failures": "100%"}} | keys)
    output, path = flow.output, folder / "report.html"
    found = Evidence(
        output, spec_of(output), history_of(output), read_summary(output) or {}, output / "results.parquet"
    )
    write_page(run_page(found, history=True), path)
    return path


def compared(rows: int) -> blocks.Page:
    """A page of an evaluation's kind: four variants with scores."""
    said = ("the answer is forty-two, I think", "the answer is forty-three, I am sure")
    score = (Score("equals", "1", True), Score("equals", "0", False, "expected 42"))
    made = tuple(
        Row(
            n,
            (f"question {n} {'of many words ' * 20}",),
            (("user", n % 50),),
            tuple(Reply("answered", f"{said[v % 2]} {n}", scores=(score[v % 2],)) for v in range(4)),
            (0,) if n % 2 else (),
            target="42",
        )
        for n in range(rows)
    )
    texts = tuple(f"Solve question {n}: {'so many words ' * 30}" for n in range(50))
    marks = (Mark("Variants", "disagree"),)
    browser = Browser(("question",), (), ("A", "B", "C", "D"), marks, texts, made)
    return blocks.Page("compared", "", "B beats A", (), (), (), browser)


def evaluation_of(folder: Path, name: str, **more: object) -> Path:
    """The page of an evaluation of two prompts by two models, after an earlier one; variants are called after
    ``name``."""
    targets = ["yes", "no", "perhaps"] * 8
    said = {"deepseek-chat": ["yes", "no", f"no {name}"] * 8, "gpt-4o": [*targets[:12], *["yes"] * 12]}
    prompts = {f"short {name}": "{{ text }}", f"long {name}": {"system": "Take your time.", "user": "{{ text }}!"}}
    given: dict[str, object] = {
        "variants": {"prompts": prompts, "models": list(said)},
        "columns": {"kind": ["even", f"odd {name}"] * 12},
        "group": "kind",
        "gate": {"accuracy": 0.6},
    }
    flow, path = Flow(folder), folder / "report.html"
    appraised(flow, targets, said, **given | more)
    before = flow.output.rename(folder / "before")
    said["deepseek-chat"] = [*targets[:3], *["no"] * 21]
    write_page(evaluation_page(appraised(flow, targets, said, against=before, **given | more)), path)
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Files of all pages, made before the browser's event loop runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOURNEYAPI_KEY", KEY)
        new = tmp_path_factory.mktemp
        many = [f"{word} thing number {n}" for n in range(60) for word in ("red", "green")]
        faulty = Emulator(faults=Faults(seed=3, statuses={400: 0.1, 500: 0.1}))
        column = "re</script><img src=x onerror=alert(1)>ply"
        hostile = {"prompt": {"system": "<b>terse</b>", "user": "{{ text }}"}, "answer": {"column": column}}
        found = SimpleNamespace(
            failures=run_of(new("failures"), many, faulty),
            hostile=run_of(new("hostile"), [f"{HOSTILE} {n}" for n in range(5)], **hostile),
            compared=new("compared") / "report.html",
            big=new("big") / "report.html",
            evaluation=evaluation_of(new("evaluation"), "way"),
            bad_names=evaluation_of(new("bad_names"), HOSTILE),
        )
        write_page(compared(8), found.compared)
        write_page(compared(10_000), found.big)
    return found


@pytest.fixture(scope="module")
def chromium(pages: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """One browser for all tests; ``open(path, …)`` gives a tab that must end without errors and violations."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        @contextmanager
        def opened(path: Path, fragment: str = "", **options: object) -> Iterator[Tab]:
            context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
            tab = context.new_page()
            problems: list[str] = []
            tab.on("pageerror", lambda error: problems.append(str(error)))
            tab.on("console", lambda message: problems.append(message.text))
            tab.on("request", lambda request: problems.append(request.url) if request.url != path.as_uri() else None)
            tab.goto(f"{path.as_uri()}#{fragment}")
            tab.wait_for_selector("html[data-ready]", timeout=10_000)
            yield tab
            context.close()
            assert problems == []

        yield SimpleNamespace(open=opened)
        browser.close()


def serious(tab: Tab) -> list[str]:
    found = Axe().run(tab).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


def chosen(tab: Tab) -> str:
    return tab.locator("#detail h3").inner_text()


def test_a_page_opens_with_all_rows_and_only_those_in_sight_in_the_document(chromium, pages):
    with chromium.open(pages.failures) as tab:
        assert tab.locator("#found").inner_text() == "120 rows"
        assert 5 < tab.locator(".option").count() < 30
        assert tab.locator("#list").get_attribute("aria-activedescendant") is None


def test_search_and_filter_and_sort(chromium, pages):
    with chromium.open(pages.failures) as tab:
        tab.fill("#search", "GREEN thing number 7")
        assert tab.locator("#found").inner_text() == "1 of 120 rows"
        tab.fill("#search", "")
        failed = next(text for text in tab.locator("#mark option").all_inner_texts() if text.startswith("failed"))
        tab.select_option("#mark", label=failed)
        assert tab.locator("#found").inner_text() == f"{re.search('[0-9]+', failed)[0]} of 120 rows"
        assert set(tab.locator(".option .failed").all_inner_texts()) == {"failed: rejected"}
        tab.select_option("#mark", "")
        tab.select_option("#order", "most attempts first")
        assert int(tab.locator(".option .number").nth(1).inner_text()) > 1
        tab.fill("#search", "nothing is like this")
        assert tab.locator(".empty").inner_text() == "No row is like this."


def test_the_keyboard_is_enough(chromium, pages):
    with chromium.open(pages.failures) as tab:
        tab.keyboard.press("/")
        tab.keyboard.type("red")
        tab.keyboard.press("Enter")
        assert chosen(tab) == "Row 0"
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("j")
        assert chosen(tab) == "Row 4"
        tab.keyboard.press("k")
        assert (chosen(tab), tab.evaluate("location.hash")) == ("Row 2", "#row=2")
        tab.keyboard.press("End")
        assert chosen(tab) == "Row 118"
        assert tab.locator(".option[aria-selected=true]").count() == 1
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "detail"
        tab.keyboard.press("Escape")
        assert tab.evaluate("document.activeElement.id") == "list"


def test_a_link_leads_to_its_row(chromium, pages):
    with chromium.open(pages.failures, "row=77") as tab:
        assert chosen(tab) == "Row 77"
        assert "green thing number 38" in tab.locator("#detail .message").inner_text()
        assert tab.locator(".option[aria-selected=true]").is_visible()
        tab.fill("#search", "red")
        tab.locator("a[href^='#row=']").first.click()
        wanted = tab.evaluate("location.hash").removeprefix("#row=")
        assert chosen(tab) == f"Row {wanted}"
    with chromium.open(pages.failures, "row=9999") as tab:
        assert tab.locator("#detail").inner_text() == "Choose a row."


def test_a_row_tells_its_attempts(chromium, pages):
    with chromium.open(pages.failures) as tab:
        tab.select_option("#order", "most attempts first")
        tab.locator(".option").first.click()
        tab.locator("#detail summary", has_text="attempts").click()
        assert tab.locator("#detail details[open] tbody tr").count() > 1
        assert "0 to 1" in tab.locator("#detail details[open]").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_bars_the_way_for_anybody(chromium, pages, scheme):
    for path in (pages.failures, pages.evaluation):
        with chromium.open(path, "row=1", color_scheme=scheme) as tab:
            assert serious(tab) == []
            dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 26)"
            assert dark == (scheme == "dark")


@pytest.mark.parametrize("page", ["failures", "evaluation"])
def test_a_phone_is_wide_enough(chromium, pages, page):
    with chromium.open(getattr(pages, page), viewport=PHONE) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert not tab.locator("#detail").is_visible()
        tab.locator(".option").nth(2).click()
        assert tab.locator("#detail").bounding_box()["width"] == PHONE["width"]
        assert serious(tab) == []
        tab.get_by_role("button", name="Back to the list").click()
        assert not tab.locator("#detail").is_visible()


def test_print_opens_what_is_folded_and_leaves_out_what_one_cannot_click(chromium, pages):
    with chromium.open(pages.failures, "row=3") as tab:
        tab.emulate_media(media="print")
        tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert tab.locator("details:not([open])").count() == 0
        assert not tab.locator("#list").is_visible() and not tab.locator("#tools").is_visible()
        assert tab.locator("#detail .message").is_visible()
        tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert tab.locator("details[open]").count() == 0
        assert tab.pdf()[:5] == b"%PDF-"


def test_hostile_texts_are_only_texts(chromium, pages):
    with chromium.open(pages.hostile, "row=2") as tab:
        assert tab.title() == "flow"
        assert HOSTILE.partition("\u2028")[0] in tab.locator("#detail .message").last.inner_text()
        assert tab.locator("img, iframe, object").count() == 0
        assert tab.locator("script:not([type])").count() == 1
        assert "<b>terse" not in tab.locator("#detail").inner_html()


def test_a_script_that_got_in_would_not_run(chromium, pages, tmp_path):
    broken = tmp_path / "broken.html"
    text = pages.failures.read_text("utf-8")
    broken.write_text(text.replace("</main>", "<script>document.title = 'owned'</script></main>"), "utf-8")
    with pytest.raises(AssertionError, match="Content Security Policy"), chromium.open(broken) as tab:
        assert tab.title() == "flow"


def test_variants_stand_side_by_side_with_what_differs(chromium, pages):
    with chromium.open(pages.compared, "row=3") as tab:
        assert tab.locator(".variant > h4:first-child").all_inner_texts() == ["A", "B", "C", "D"]
        assert "✗ 0: expected 42" in tab.locator(".variant").nth(1).inner_text()
        tab.locator("#detail select").select_option(label="A")
        second = tab.locator(".variant").nth(1)
        assert second.locator("del").all_inner_texts() == ["two", "think"]
        assert second.locator("ins").all_inner_texts() == ["three", "am sure"]
        assert tab.locator(".variant").nth(2).locator("del, ins").count() == 0
        tab.keyboard.press("Escape")
        tab.keyboard.press("j")
        assert tab.locator(".variant").nth(1).locator("ins").count() == 2


def test_ten_thousand_rows_of_four_replies_do_not_freeze(chromium, pages):
    with chromium.open(pages.big) as tab:
        painted = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        assert painted < 2000
        tab.fill("#search", "question 9999 ")
        assert tab.locator("#found").inner_text() == "1 of 10,000 rows"
        tab.fill("#search", "")
        tab.locator("#list").press("End")
        assert chosen(tab) == "Row 9999"
        assert tab.locator(".option").count() < 30


def test_an_evaluation_can_be_filtered_by_what_its_variants_did(chromium, pages):
    with chromium.open(pages.evaluation) as tab:
        labels = tab.locator("#mark option").all_inner_texts()
        groups = tab.locator("#mark optgroup").evaluate_all("all => all.map((one) => one.label)")
        assert groups == ["Variants", "Wrong", "Since the earlier evaluation", "Status"]
        for label, ticks in (("disagree", {"✗✓✗✓", "✓✗✓✗"}), ("all are wrong", {"✗✗✗✗"}), ("all are right", {"✓✓✓✓"})):
            tab.select_option("#mark", label=next(text for text in labels if text.startswith(label)))
            shown = tab.locator(".option .number:last-child").all_inner_texts()
            assert shown and set(shown) <= ticks
        broken = next(text for text in labels if text.startswith("short way/deepseek-chat: broken"))
        tab.select_option("#mark", label=broken)
        assert tab.locator("#found").inner_text() == f"{re.search('[0-9]+', broken)[0]} of 24 rows"


def test_a_row_of_an_evaluation_shows_each_variants_prompt_and_scores(chromium, pages):
    with chromium.open(pages.evaluation, "row=4") as tab:
        names = ["short way/deepseek-chat", "short way/gpt-4o", "long way/deepseek-chat", "long way/gpt-4o"]
        assert tab.locator(".variant > h4:first-child").all_inner_texts() == names
        assert tab.locator("#detail h4:text-is('Target') + p").inner_text() == "no"
        assert tab.locator("#detail h4:text-is('Group') + p").inner_text() == "even"
        assert tab.locator("#detail > .scroll").first.inner_text().split()[:3] == ["id", "00004", "text"]
        long = tab.locator(".variant").nth(2)
        long.locator("summary", has_text="What was asked").click()
        long.locator("summary", has_text="1 message before").click()
        assert long.locator(".message .text").all_inner_texts() == ["Take your time.", "thing number 4 of many!"]
        tab.fill("#search", "take your time.")
        assert tab.locator("#found").inner_text() == "24 rows"


def test_links_of_an_evaluation_lead_to_rows_that_changed(chromium, pages):
    with chromium.open(pages.evaluation) as tab:
        tab.locator("section[aria-labelledby=changes] a").first.click()
        assert chosen(tab) == "Row " + tab.evaluate("location.hash").removeprefix("#row=")


def test_hostile_names_of_an_evaluation_are_only_texts(chromium, pages):
    with chromium.open(pages.bad_names, "row=2", viewport=PHONE) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert tab.title() == "flow"
        assert HOSTILE.partition("\u2028")[0] in tab.locator("#detail .variant > h4").first.inner_text()
        assert tab.locator("img, iframe, object").count() == 0
        assert tab.locator("script:not([type])").count() == 1
