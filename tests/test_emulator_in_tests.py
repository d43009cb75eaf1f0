"""The emulator as a stand-in in other people's tests: what its page shows to copy is run as it stands there."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from journeybatch import Emulator
from journeybatch.emulator import Faults

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "emulator.md"
MESSAGES = [{"role": "user", "content": "Name a river."}]


def test_the_fixture_and_the_tests_of_its_page_work_as_they_stand_there(tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S))
    assert list(blocks) == ["conftest.py", "test_labels.py", "test_job.py"]
    for name, text in blocks.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@pytest.mark.parametrize("faults", [Faults(), Faults(cut=1e-12)], ids=["asgi", "raw"])
def test_it_is_served_as_long_as_the_context_lasts(faults: Faults) -> None:
    before = {*threading.enumerate()}  # of earlier tests; one may end meanwhile
    with Emulator(faults=faults) as emulator, emulator.serving() as base_url:
        asked = {"model": "o3", "messages": MESSAGES}
        reply = httpx.post(f"{base_url}/chat/completions", json=asked, headers={"authorization": "any"})
        assert (reply.status_code, emulator.billed) == (200, 5)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base_url}/account")
    assert {*threading.enumerate()} <= before, "nothing is left at work"


def test_two_are_served_at_once_each_with_books_of_its_own() -> None:
    first, second = Emulator(), Emulator()
    with first.serving() as one, second.serving() as other:
        assert one != other
        asked = {"model": "o3", "messages": MESSAGES}
        httpx.post(f"{one}/chat/completions", json=asked, headers={"authorization": "any"})
    assert (len(first.attempts), len(second.attempts)) == (1, 0)


def test_a_port_that_is_taken_is_an_error_where_it_was_asked_for() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="already in use"),
        Emulator().serving(taken.getsockname()[1]),
    ):
        pytest.fail("two servers on one port")
