"""Mutants: the heart of the product with one small thing changed, and its tests, which have to notice.

A mutant is a change of the source's tree: a comparison, a sum, a constant, a condition, a statement left out. Each
runs in a process forked off one that has the libraries, but nothing of the package, imported. What the tests of the
module do not notice has survived, unless ``SAME`` says why it makes no difference.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import io
import os
import random
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
from typing import Any, NamedTuple

from proofs.checker import Broken
from proofs.spread import spread

ROOT = Path(__file__).parents[2]
TESTS = {
    "journal": ("test_journal", "test_accounted", "test_flows_crash"),
    "ledger": ("test_ledger", "test_accounted"),
    "accounted": ("test_accounted", "test_flows_credits"),
    "retry": ("test_retry", "test_simulation"),
    "dispatch": ("test_flows_run", "test_flows_credits", "test_flows_money", "test_flows_crash"),
    "packing": ("test_packing", "test_flows_credits"),
    "answers": ("test_answers", "test_reading"),
}
"""Which tests have to notice, those first that take the least."""
PATIENCE_S = 150.0
ENOUGH = 0.9
LIBRARIES = ("anyio", "hypothesis.stateful", "httpx", "httptools", "jsonschema", "minijinja", "msgspec", "polars")
LIBRARIES += ("pyarrow.parquet", "pydantic", "pytest", "tenacity", "trio.testing", "starlette", "uvicorn", "yaml")

SAME: dict[tuple[str, str], str] = {}
"""Survivors by module and change, with the reason why nobody could notice."""

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
}


class Mutant(NamedTuple):
    """The ``place``-th change that can be made to a ``module``: on a line, in words."""

    module: str
    place: int
    line: int
    change: str


class _Changes(ast.NodeTransformer):
    """Counts every change that can be made, in the order of the source, and makes the one that is ``wanted``."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted, self.found = wanted, []  # type: int | None, list[tuple[int, str]]

    def _meet(self, node: ast.AST, made: ast.AST) -> ast.AST:
        """Offer ``made`` in place of ``node``."""
        new = ast.copy_location(made, node)
        self.found.append((node.lineno, f"{_said(node)} → {_said(made)}"))  # type: ignore[attr-defined]
        return ast.fix_missing_locations(new) if self.wanted == len(self.found) - 1 else node

    def generic_visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.JoinedStr | ast.Raise | ast.arguments | ast.AnnAssign) and not _valued(node):
            return node  # what is said to a user is not what these tests are about
        return super().generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> Any:
        self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
            return self._meet(node, ast.Compare(node.left, [COMPARED[type(node.ops[0])]()], node.comparators))
        return node

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        self.generic_visit(node)
        if type(node.op) in CALCULATED:
            return self._meet(node, ast.BinOp(node.left, CALCULATED[type(node.op)](), node.right))
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        self.generic_visit(node)
        return self._meet(node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        self.generic_visit(node)
        return self._meet(node, node.operand) if isinstance(node.op, ast.Not) else node

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        self.generic_visit(node)
        return self._meet(node, ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse))

    def visit_If(self, node: ast.If) -> Any:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node
        self.generic_visit(node)
        return node

    def visit_Constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, bool):
            return self._meet(node, ast.Constant(not value))
        if isinstance(value, int | float):
            return self._meet(node, ast.Constant(value + 1))
        return node

    def visit_Expr(self, node: ast.Expr) -> Any:
        if isinstance(node.value, ast.Constant):
            return node  # documentation
        self.generic_visit(node)
        return self._meet(node, ast.Pass())

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        self.generic_visit(node)
        return self._meet(node, ast.Pass())

    def visit_Return(self, node: ast.Return) -> Any:
        self.generic_visit(node)
        if node.value is None or isinstance(node.value, ast.Constant):
            return node
        return self._meet(node, ast.Return(ast.Constant(None)))

    def visit_Raise(self, node: ast.Raise) -> Any:
        return self._meet(node, ast.Pass())

    def visit_Continue(self, node: ast.Continue) -> Any:
        return self._meet(node, ast.Break())

    def visit_Break(self, node: ast.Break) -> Any:
        return self._meet(node, ast.Continue())


def _valued(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and node.value is not None


def _said(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:70]


def _tree(module: str, wanted: int | None = None) -> tuple[ast.Module, list[tuple[int, str]]]:
    changes = _Changes(wanted)
    tree = changes.visit(ast.parse((ROOT / "journeybatch" / f"{module}.py").read_text()))
    return tree, changes.found


def mutants(module: str) -> list[Mutant]:
    """All mutants of a module."""
    return [Mutant(module, place, line, change) for place, (line, change) in enumerate(_tree(module)[1])]


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"journeybatch.{mutant.module}", str(ROOT / "journeybatch" / f"{mutant.module}.py"))
        self.mutant = mutant

    def get_code(self, name: str) -> CodeType:
        return compile(_tree(self.mutant.module, self.mutant.place)[0], self.path, "exec")


class _Finder:
    def __init__(self, mutant: Mutant) -> None:
        self.loader = _Loader(mutant)

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != self.loader.name:
            return None
        return importlib.util.spec_from_file_location(name, self.loader.path, loader=self.loader)


def _run(mutant: Mutant) -> int:
    """Run the tests of a mutant's module, in a forked process. Returns pytest's exit code."""
    import pytest

    sys.meta_path.insert(0, _Finder(mutant))  # type: ignore[arg-type]
    sys.path.insert(0, str(ROOT / "tests"))
    os.chdir(ROOT)
    files = [f"tests/{name}.py" for name in TESTS[mutant.module]]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return int(pytest.main(["-x", "-q", "-p", "no:warnings", "--hypothesis-seed=0", *files]))


def killed(mutant: Mutant) -> bool:
    """Whether the tests notice a mutant, or never end with it."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (int(PATIENCE_S), int(PATIENCE_S)))  # should nobody be there to end it
        silence = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(silence, fd)
        code = 1
        try:
            code = _run(mutant)
        finally:
            os._exit(code)
    fd = os.pidfd_open(child)
    try:
        ended = select.select([fd], [], [], PATIENCE_S)[0]
    finally:
        os.close(fd)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # whatever it started
    status = os.waitpid(child, 0)[1]
    return not ended or status != 0


def sample(number: int, seed: int, modules: tuple[str, ...] = tuple(TESTS)) -> list[Mutant]:
    """So many mutants, drawn evenly from all of the modules; all there are if that is fewer."""
    rng, chosen, pools = random.Random(seed), [], []  # type: random.Random, list[Mutant], list[list[Mutant]]
    for module in modules:
        pool = mutants(module)
        rng.shuffle(pool)
        pools.append(pool)
    while len(chosen) < number and any(pools):
        for pool in pools:
            if pool and len(chosen) < number:
                chosen.append(pool.pop())
    return chosen


def survivors(chosen: list[Mutant]) -> Iterator[Mutant]:
    """Those of the ``chosen`` whom nobody notices, and about whom ``SAME`` says nothing."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for mutant in chosen:
        if (mutant.module, mutant.change) not in SAME and not killed(mutant):
            yield mutant


def noticed(places: range, number: int, seed: int, until: float) -> list[tuple[Mutant, bool]]:
    """Those of a sample, by their places in it, and whether each was noticed; none after ``until`` (Unix seconds)."""
    found = []
    for mutant in sample(number, seed)[places.start : places.stop]:
        if time.time() < until:
            found.append((mutant, not any(survivors([mutant]))))
    return found


def prove(number: int, seed: int, limit_s: float = 3e5) -> tuple[int, str]:
    """Make so many mutants, as far as ``limit_s`` goes. Returns their number, and how many were noticed by module.
    Raises Broken where that is less than nine of ten."""
    number = len(sample(number, seed))
    died, tried = Counter[str](), Counter[str]()
    for found in spread(noticed, range(number), 8, number, seed, time.time() + limit_s):
        for mutant, seen in found:
            tried[mutant.module] += 1
            died[mutant.module] += seen
            if not seen:
                told = f"survived: {mutant.module}.py:{mutant.line}: {mutant.change}"
                print(told, file=sys.stderr, flush=True)
    made = sum(tried.values())
    said = ", ".join(f"{module} {died[module]}/{tried[module]}" for module in sorted(tried))
    if sum(died.values()) < ENOUGH * made:
        raise Broken(f"seed {seed}: {sum(died.values())} of {made} mutants were noticed: {said}")
    return made, f"{sum(died.values())} noticed ({100 * sum(died.values()) / made:.0f} %): {said}"


if __name__ == "__main__":
    for each in survivors(sample(int(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:]) or tuple(TESTS))):
        print(f"{each.module}.py:{each.line}: {each.change}", flush=True)
