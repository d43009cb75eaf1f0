"""Mutants: the heart of the product with one small thing changed, and its tests, which have to notice.

Each runs in a process forked off one that has the libraries, but nothing of the package, imported. What the tests of
the module do not notice has survived: ``equivalents`` says of each why nobody else could notice it either.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import os
import resource
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from proofs.checker import Broken
from proofs.equivalents import SAME
from proofs.mutations import MODULES, PACKAGE, Mutant, code, sample
from proofs.spread import spread

ROOT = PACKAGE.parent
FLOWS = ("test_flows_run", "test_flows_credits", "test_flows_money", "test_flows_crash")
TESTS = {
    "journal": ("test_journal", "test_compaction", "test_accounted", "test_flows_crash"),
    "ledger": ("test_ledger", "test_accounted"),
    "accounted": ("test_accounted", "test_flows_credits", "test_transcript"),
    "retry": ("test_retry", "test_simulation"),
    "dispatch": ("test_dispatch", "test_deadline", *FLOWS, "test_tuning", "test_farewell"),
    "packing": ("test_packing", "test_flows_credits"),
    "answers": ("test_answers", "test_reading"),
}
"""Which tests have to notice, those first that take the least."""
QUIETLY = ("-x", "-q", "-p", "no:warnings", "--hypothesis-seed=0", "--hypothesis-profile=patient")
CPU_S, STILL_S, PATIENCE_S, LOOK_S = 150, 60.0, 900.0, 2.0
"""A mutant, which is looked at every ``LOOK_S``, never ends that takes so much of a processor, that does nothing for so
long, or that takes so long in all: the last is much, since a busy machine must not look like a mutant that hangs."""
ENOUGH = 0.9
LIBRARIES = ("anyio", "hypothesis.stateful", "httpx", "httptools", "jsonschema", "minijinja", "msgspec", "polars")
LIBRARIES += ("pyarrow.parquet", "pydantic", "pytest", "tenacity", "trio.testing", "starlette", "uvicorn", "yaml")


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"journeybatch.{mutant.module}", str(PACKAGE / f"{mutant.module}.py"))
        self.mutant = mutant

    def get_code(self, name: str) -> CodeType:
        return code(self.mutant)


class _Finder:
    def __init__(self, mutant: Mutant) -> None:
        self.loader = _Loader(mutant)

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != self.loader.name:
            return None
        return importlib.util.spec_from_file_location(name, self.loader.path, loader=self.loader)


class _Last:
    """A plugin that remembers the last test: its name, and where it is."""

    name = where = ""

    def pytest_runtest_setup(self, item: Any) -> None:
        self.name = item.nodeid
        self.where = f"{item.path}::{item.nodeid.partition('::')[2]}"


def _run(mutant: Mutant, tests: tuple[str, ...]) -> int:
    """Run tests on a mutant, in a forked process. Returns pytest's exit code. A test that fails once and not again
    has not noticed it, but is moody: the others are asked."""
    import hypothesis
    import pytest

    hypothesis.settings.register_profile("patient", deadline=None)  # a machine that is busy notices nothing
    sys.meta_path.insert(0, _Finder(mutant))  # type: ignore[arg-type]
    sys.path.insert(0, str(ROOT / "tests"))
    os.chdir(ROOT)
    files = [name if Path(name).is_absolute() else f"tests/{name}.py" for name in tests]
    last, moody = _Last(), []  # type: _Last, list[str]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        while True:
            ended = int(pytest.main([*QUIETLY, *moody, *files], plugins=[last]))
            if moody and ended == pytest.ExitCode.NO_TESTS_COLLECTED:
                return 0
            if ended != pytest.ExitCode.TESTS_FAILED or pytest.main([*QUIETLY, last.where]):
                return ended
            moody += ["--deselect", last.name]


def killed(mutant: Mutant, tests: tuple[str, ...] = ()) -> bool:
    """Whether the tests of its module, or these, notice a mutant, or never end with it."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))  # should nobody be there to end it
        silence = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(silence, fd)
        ended = 1
        try:
            ended = _run(mutant, tests or TESTS[mutant.module])
        finally:
            os._exit(ended)
    in_time = _ends(child)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # whatever it started
    status = os.waitpid(child, 0)[1]
    return not in_time or status != 0


def _ends(child: int) -> bool:
    """Wait for a process. False: it takes too long, or does nothing any more. Time is counted in looks at it, so that
    where everything was suspended for a while, it goes on as before."""
    fd = os.pidfd_open(child)
    spent, waited_s, still_s = "", 0.0, 0.0
    try:
        while not select.select([fd], [], [], LOOK_S)[0]:
            stat = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            before, spent = spent, " ".join(stat[11:15])
            waited_s += LOOK_S
            still_s = still_s + LOOK_S if spent == before else 0.0
            if still_s > STILL_S or waited_s > PATIENCE_S:
                return False
    finally:
        os.close(fd)
    return True


def untouched(module: str) -> Mutant:
    """A mutant that is none: its module as it is."""
    return Mutant(module, -1, 0, "", "nothing")


def survivors(chosen: list[Mutant], tests: tuple[str, ...] = ()) -> Iterator[Mutant]:
    """Those of the ``chosen`` whom nobody notices."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for mutant in chosen:
        if not killed(mutant, tests):
            yield mutant


def noticed(places: range, number: int, seed: int, until: float) -> list[tuple[Mutant, bool]]:
    """Those of a sample, by their places in it, and whether each was noticed; none after ``until`` (Unix seconds).
    What ``SAME`` explains is not tried again: it was not."""
    found = []
    for mutant in sample(number, seed)[places.start : places.stop]:
        if time.time() < until:
            found.append((mutant, mutant.name not in SAME and not any(survivors([mutant]))))
    return found


def failing(places: range, modules: tuple[str, ...]) -> list[str]:
    """Those of the modules whose tests fail without any change."""
    return [modules[place] for place in places if not any(survivors([untouched(modules[place])]))]


def prove(number: int, seed: int, limit_s: float = 3e5) -> tuple[int, str]:
    """Make so many mutants, as far as ``limit_s`` goes. Returns their number, and how many were noticed by module.
    Raises Broken where of those that make a difference fewer than nine of ten were, or where the tests of a module
    notice whatever there is."""
    number = len(sample(number, seed))
    died, tried, same = Counter[str](), Counter[str](), 0
    passed = set[str]()  # modules whose tests let anything pass
    for found in spread(noticed, range(number), 8, number, seed, time.time() + limit_s):
        for mutant, seen in found:
            tried[mutant.module] += 1
            died[mutant.module] += seen
            same += mutant.name in SAME
            if not seen and mutant.name not in SAME:
                passed.add(mutant.module)
                print(f"survived: {_told(mutant)}", file=sys.stderr, flush=True)
    zealous = tuple(module for module in tried if module not in passed)
    wolves = [each for found in spread(failing, range(len(zealous)), 1, zealous) for each in found]
    if wolves:
        raise Broken(f"the tests of {', '.join(wolves)} fail without any change")
    made, seen = sum(tried.values()), sum(died.values())
    said = ", ".join(f"{module} {died[module]}/{tried[module]}" for module in MODULES if tried[module])
    if seen < ENOUGH * (made - same):
        raise Broken(f"seed {seed}: {seen} of {made} mutants were noticed: {said}")
    rest = f"of the others {same} [make no difference](mutants.md), {made - seen - same} are not explained"
    return made, f"{seen} noticed ({100 * seen / made:.0f} %): {said}; {rest}"


def _told(mutant: Mutant) -> str:
    return f"{mutant.module}.py:{mutant.line}: {mutant.where}: {mutant.change}"


if __name__ == "__main__":
    given = argparse.ArgumentParser(prog="proofs.mutants", description="Mutants that survive.")
    given.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)}; all if none is named")
    given.add_argument("--number", type=int, default=10_000, help="how many to draw; default: all there are")
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--only", default="", help="a text that stands in what is told of a mutant")
    given.add_argument("--tests", nargs="+", default=(), help="instead of the module's own; names, or absolute paths")
    asked = given.parse_args()
    drawn = sample(asked.number, asked.seed, tuple(asked.modules) or MODULES)
    tried = [one for one in drawn if asked.only in _told(one)]
    for each in survivors(tried, tuple(asked.tests)):
        print(f"{'the same' if each.name in SAME else 'survived'}: {_told(each)}", flush=True)
    print(f"{len(tried)} tried")
