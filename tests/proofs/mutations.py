"""Mutations: the small changes that can be made to a module's source, one at a time, in the order of the source.

A comparison, a sum, a constant, a condition, a statement left out. No names are swapped, and nothing is changed of what
is said to a user.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parents[2] / "journeybatch"
MODULES = ("journal", "ledger", "accounted", "retry", "dispatch", "packing", "answers")
"""The heart: where a mistake costs money or an answer."""

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
    """The ``place``-th change that can be made to a ``module``: on a ``line``, ``where`` in it (a constant, a class,
    a function), in words, which are told apart by a number where one change can be made twice there."""

    module: str
    place: int
    line: int
    where: str
    change: str

    @property
    def name(self) -> tuple[str, str, str]:
        """What it is called, whatever else in its module changes."""
        return self.module, self.where, self.change


class _Changes(ast.NodeTransformer):
    """Counts every change that can be made, in the order of the source, and makes the one that is ``wanted``."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted, self.found = wanted, []  # type: int | None, list[tuple[int, str, str]]
        self.within: list[str] = []

    def _meet(self, node: ast.AST, made: ast.AST) -> ast.AST:
        """Offer ``made`` in place of ``node``."""
        new = ast.copy_location(made, node)
        line: int = node.lineno  # type: ignore[attr-defined]
        self.found.append((line, ".".join(self.within), f"{_said(node)} → {_said(made)}"))
        return ast.fix_missing_locations(new) if self.wanted == len(self.found) - 1 else node

    def generic_visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.JoinedStr | ast.Raise | ast.arguments | ast.AnnAssign) and not _valued(node):
            return node  # what is said to a user is not what these tests are about
        name = _name(node)
        if name is None or (self.within and isinstance(node, ast.Assign | ast.AnnAssign)):
            return super().generic_visit(node)
        self.within.append(name)
        try:
            return super().generic_visit(node)
        finally:
            self.within.pop()

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


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return ast.unparse(targets[0]) if targets else None


def _said(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:70]


def _tree(module: str, wanted: int | None = None) -> tuple[ast.Module, list[tuple[int, str, str]]]:
    changes = _Changes(wanted)
    tree = changes.visit(ast.parse((PACKAGE / f"{module}.py").read_text()))
    return tree, changes.found


def mutants(module: str) -> list[Mutant]:
    """All mutants of a module."""
    found, times = [], Counter[tuple[str, str]]()
    for place, (line, where, change) in enumerate(_tree(module)[1]):
        times[where, change] += 1
        nth = f" ({times[where, change]})" if times[where, change] > 1 else ""
        found.append(Mutant(module, place, line, where, change + nth))
    return found


def code(mutant: Mutant) -> CodeType:
    """Its module, compiled with the change."""
    return compile(_tree(mutant.module, mutant.place)[0], str(PACKAGE / f"{mutant.module}.py"), "exec")


def sample(number: int, seed: int, modules: tuple[str, ...] = MODULES) -> list[Mutant]:
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
