"""The notebook in docs/ runs as it stands, and says what its texts promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
sys.stdout.write(nbformat.writes(notebook))
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each cell of code says, as text, run in an empty directory by a kernel of its own."""
    command = [sys.executable, "-c", RUN, str(NOTEBOOK)]
    folder = tmp_path_factory.mktemp("notebook")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "notebook" / "results.parquet").exists()
    return [said(cell) for cell in json.loads(done.stdout)["cells"] if cell["cell_type"] == "code"]


def said(cell: dict[str, Any]) -> str:
    """A cell's streams and its value."""
    return "".join(
        "".join(output.get("text") or output.get("data", {}).get("text/plain") or "") for output in cell["outputs"]
    )


def test_it_goes_from_a_frame_to_answers_in_a_frame(outputs: list[str]) -> None:
    _, planned, ran, answers, *_ = outputs
    assert "4 rows, 4 requests, 4 to 4 credits" in planned
    assert "(0, 4)" in ran
    assert all(f"{word}" in answers for word in ("shape: (4, 4)", "positive", "negative", "neutral", "answered"))


def test_it_shows_a_bar_while_it_runs(outputs: list[str]) -> None:
    assert "4/4" in outputs[2]
    assert "in flight" in outputs[2]


def test_a_new_row_is_all_that_is_asked_and_an_error_says_what_to_mend(outputs: list[str]) -> None:
    *_, more, mended = outputs
    assert "(1, ['positive', 'negative', 'neutral', 'neutral', 'positive'])" in more
    assert "did you mean 'review'?" in mended


def test_it_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
