"""The built package: it passes the checks of an index, installs without the checkout, and the tutorial then works word
for word, on every Python that is promised and can be found here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from consoles import SERVES, Said, Step, agrees, perform, steps

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"
PORT = "8010"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built out of it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def wheel_in(folder: Path) -> Path:
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_and_sdist_pass_what_an_index_asks(built: Path) -> None:
    both = sorted(map(str, built.iterdir()))
    assert len(both) == 2
    command = [sys.executable, "-m", "twine", "check", "--strict", *both]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sdist_holds_what_its_own_tests_and_make_targets_read(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert {name for name in tracked if not name.startswith(".ci/")} <= held


def interpreter(version: str) -> str | None:
    """A Python of this version that can make environments, by the path of its executable."""
    named = shutil.which(f"python{version}")
    homes = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    for candidate in (named, *map(str, homes)):
        code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2], sys.executable)"
        if candidate is not None:
            done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.split()[0] == version:
                return done.stdout.split()[1]
    return None


def free_port() -> str:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return str(asked.getsockname()[1])


class Newcomer:
    """Somebody with a Python, an empty folder with the wheel in it, and the tutorial."""

    def __init__(self, folder: Path, python: str, wheel: Path) -> None:
        self.folder, home, tools = folder / "work", folder / "home", folder / "bin"
        for each in (self.folder, home, tools):
            each.mkdir()
        shutil.copy(wheel, self.folder)
        shim = tools / "python3"
        shim.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n', encoding="utf-8")
        shim.chmod(0o755)
        pip = {
            name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "NO_PROXY"))
        }
        self.environ = pip | {
            "PATH": f"{tools}:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def follow(self, aside: str = "", timeout_s: float = 240) -> Iterator[Said]:
        """Each command of the tutorial with what it printed; ``aside`` is run once the environment is there. Only the
        port is another: somebody may use it."""
        port = free_port()
        told = [
            Step(step.command.replace(PORT, port), [line.replace(PORT, port) for line in step.shown])
            for step in steps(TUTORIAL)
        ]
        made = next(step for step in told if "-m venv" in step.command)
        told.append(Step("python -c 'import journeybatch, sys; print(journeybatch.__file__, *sys.path)'", ["…"]))
        yield from perform(told, self.folder, self.environ, lambda step: aside if step is made else "", timeout_s)


def check(said: list[Said], folder: Path) -> None:
    *told, where = said
    for each in told:
        assert agrees(each), f"$ {each.step.command}\n" + "\n".join([*each.lines, f"(exit code {each.code})"])
    module, *path = where.lines[0].split()
    assert Path(module).is_relative_to(folder), "the package is the environment's own"
    assert not any(Path(place) in (ROOT, *ROOT.parents) for place in path), "no checkout is on the path"


def test_a_page_that_shows_what_is_not_printed_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ echo one\none\n$ echo two\nthree\n$ cat <<'END'\n> it took 3 s\n> END\nit took 4.1 s\n```\n"
        "```console\n$ false\n$ echo and more\n…\n$ echo a b c\na … c\n```\n",
        "utf-8",
    )
    said = perform(steps(page), tmp_path, {"PATH": "/usr/bin:/bin"}, lambda step: "", 20)
    assert [agrees(each) for each in said] == [True, False, True, False, True, True]


def test_the_tutorial_goes_through_all_a_newcomer_needs() -> None:
    commands = " ".join(step.command for step in steps(TUTORIAL))
    for needed in ("pip install", "init", "plan", "run", "export", "eval", "report", "status", "show", SERVES):
        assert needed in commands


def test_the_tutorial_works_word_for_word_from_the_wheel(built: Path, tmp_path: Path) -> None:
    """Quick: the dependencies are those of this environment, by links, and without the checkout that stands beside
    them."""
    others = tmp_path / "dependencies"
    others.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for found in Path(place).iterdir():
            if "journeybatch" not in found.name and found.suffix != ".pth":
                (others / found.name).symlink_to(found)
    python = interpreter(f"{sys.version_info.major}.{sys.version_info.minor}")
    newcomer = Newcomer(tmp_path, python or sys.executable, wheel_in(built))
    newcomer.environ["PIP_NO_INDEX"] = "1"
    aside = f"for place in env/lib/python3*/site-packages; do echo '{others}' > $place/others.pth; done"
    check(list(newcomer.follow(aside)), newcomer.folder)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_tutorial_works_word_for_word_where_pip_installs_all(version: str, built: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    pins = tmp_path / "pins.txt"
    locked = (ROOT / "requirements" / "test.txt").read_text("utf-8")
    pins.write_text("".join(f"{line.rstrip(' ' + chr(92))}\n" for line in locked.splitlines() if "==" in line), "utf-8")
    newcomer = Newcomer(tmp_path, python, wheel_in(built))
    newcomer.environ["PIP_CONSTRAINT"] = str(pins)
    check(list(newcomer.follow(timeout_s=900)), newcomer.folder)
