"""Planted faults: the product with one mistake in it, and the proof that has to see it.

A proof that finds nothing is worth what it would have found. Each plant is a change of the source, made as it is
imported in a process of its own, so that nothing else in the world knows of it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType

from proofs.checker import Broken
from proofs.plant import Plant
from proofs.plants_in_sending import IN_SENDING
from proofs.plants_on_disk import ON_DISK
from proofs.spread import ALONE
from proofs.world import PLANTED

PLANTS = (*ON_DISK, *IN_SENDING)


class _Gardener(importlib.abc.MetaPathFinder):
    """Finds the planted module first."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        mine = [(old, new) for module, old, new in self.plant.changes if name == f"journeybatch.{module}"]
        if not mine:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        assert spec is not None and spec.origin is not None
        spec.loader = _Planted(name, spec.origin, mine)
        return spec


class _Planted(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, changes: list[tuple[str, str]]) -> None:
        super().__init__(name, path)
        self.changes = changes

    def get_code(self, name: str) -> CodeType:
        source = Path(self.path).read_text()
        for old, new in self.changes:
            if source.count(old) != 1:
                raise LookupError(f"{name} has changed: {old!r} does not stand in it once")
            source = source.replace(old, new)
        return compile(source, self.path, "exec")


def plant(number: int) -> None:
    """Plant it, before anything of the package is imported."""
    sys.meta_path.insert(0, _Gardener(PLANTS[number]))


def seen(number: int, seed: int) -> str | None:
    """What the plant's proof says to it; None if it says nothing. In this process, which is none the better for it."""
    plant(number)
    ALONE.append("planted")
    PLANTED.append(number)
    chosen = PLANTS[number]
    proof = importlib.import_module(f"proofs.{chosen.proof}")
    more: dict[str, object] = {"shrink": False} if chosen.proof == "lives" else {}
    if chosen.proof == "race":
        here = Path(__file__).parent.parent
        more["before"] = (
            f"import sys; sys.path.insert(0, {str(here)!r}); import proofs.planted as p; p.plant({number})\n"
        )
    try:
        proof.prove(chosen.size if chosen.size < 1 else int(chosen.size), seed, **more)
    except Broken as broken:
        return str(broken).splitlines()[0]
    return None


def caught(number: int, seed: int) -> str | None:
    """``seen``, in a process of its own. Raises RuntimeError if that ends badly."""
    told = [sys.executable, "-m", "proofs.planted", str(number), str(seed)]
    here, patience = Path(__file__).parent.parent, 600
    try:
        done = subprocess.run(told, cwd=here, capture_output=True, text=True, check=False, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Broken(f"{PLANTS[number].what}: its proof has no end within {patience} s") from None
    if done.returncode:
        raise RuntimeError(f"{PLANTS[number].what}: {done.stderr[-2000:]}")
    return done.stdout.strip() or None


def prove(share: float, seed: int) -> tuple[int, str]:
    """Plant a share of the faults. Returns their number and a sentence. Raises Broken for those that nobody sees."""
    numbers = list(range(len(PLANTS)))
    chosen = numbers if share >= 1 else random.Random(seed).sample(numbers, max(1, round(share * len(numbers))))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = list(pool.map(lambda number: caught(number, seed), chosen))
    missed = [PLANTS[number].what for number, what in zip(chosen, said, strict=True) if what is None]
    if missed:
        raise Broken(f"seed {seed}: nobody sees it if {'; '.join(missed)}")
    return len(chosen), f"each of {len(chosen)} planted faults was seen"


if __name__ == "__main__":
    print(seen(int(sys.argv[1]), int(sys.argv[2])) or "")
