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
from typing import NamedTuple

from proofs.checker import Broken
from proofs.spread import ALONE
from proofs.world import PLANTED


class Plant(NamedTuple):
    """What is wrong, in which ``module`` of the package, as ``old`` text and ``new``; and the ``proof`` that sees it:
    a module here, and how much of it. ``also`` are more changes, where the product sees one alone."""

    what: str
    module: str
    old: str
    new: str
    proof: str
    size: float
    also: tuple[tuple[str, str, str], ...] = ()

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """Module, old text and new text of each change."""
        return [(self.module, self.old, self.new), *self.also]


PLANTS = (
    Plant("an intent is not synced", "journal", "await self._sync(self.fd)", "await anyio.sleep(0)", "power", 800),
    Plant(
        "a sync speaks for what came after it",
        "commit",
        "self._upto = upto = self._write()\n            await self._sync()",
        "await self._sync()\n            self._upto = upto = self._write()",
        "power",
        800,
    ),
    Plant("a new journal's directory is not synced", "journal", "sync_directory(each)", "each.exists()", "power", 800),
    Plant("a torn tail is not cut off", "journal", "if history.size > history.end:", "if False:", "power", 800),
    Plant("a table is renamed before it is synced", "replacement", "        _sync(temporary)\n", "", "power", 800),
    Plant("a torn frame is accepted", "frames", " or crc32(buffer[start:end], length) != checksum", "", "power", 800),
    Plant("the stale frames of another time are accepted", "frames", " and frame[0] >= expected", "", "power", 3000),
    Plant(
        "an intent is forgotten", "accounted", "            journal.append(intent(request, joined))\n", "", "night", 40
    ),
    Plant(
        "a reply is written after it is read",
        "accounted",
        "            journal.write(entry)\n            reply = judge(completion, bills_errors=bills_errors)\n",
        "            reply = judge(completion, bills_errors=bills_errors)\n            journal.write(entry)\n",
        "night",
        80,
    ),
    Plant(
        "a reservation is released twice",
        "ledger",
        "self.reserved -= price.most",
        "self.reserved -= 2 * price.most",
        "night",
        80,
    ),
    Plant("nothing is reserved", "ledger", "self.reserved += price.most", "self.reserved += 0", "night", 80),
    Plant(
        "a doubt counts as free",
        "ledger",
        'return (0, 0) if charge == "free" else (0, price.most)',
        "return (0, 0)",
        "night",
        40,
    ),
    Plant(
        "the cap does not count the doubts of an attempt that is over",
        "ledger",
        "self.unknown += most - certain",
        "self.unknown += 0",
        "heart",
        60,
    ),
    Plant(
        "the day's cap counts only what was settled",
        "daybook",
        "self._free -= most\n        return self.day",
        "return self.day",
        "heart",
        400,
    ),
    Plant(
        "a journal that is written anew forgets what was begun and never ended",
        "compaction",
        "if not gone and not isinstance(entry, Compacted):",
        "if not gone and not isinstance(entry, Compacted | entries.Intent):",
        "heart",
        200,
    ),
    Plant(
        "the old journal goes before the new one is in its place",
        "compaction",
        "path.replace(journal.path)",
        "journal.path.unlink(); path.replace(journal.path)",
        "heart",
        400,
    ),
    Plant(
        "a run's first request does not go alone",
        "canary",
        "return bool(self._stamp) and not self.landed",
        "return False",
        "heart",
        60,
    ),
    Plant(
        "what polars cannot write is no matter of ours",
        "runner",
        "    except (OSError, TableError) as error:\n        ending.stop",
        "    except FileExistsError as error:\n        ending.stop",
        "calls",
        0.12,
    ),
    Plant(
        "the columns of an answer are no part of what the results are made of",
        "views",
        '        "answers": [(name, repr(dtype)) for name, dtype in view.reader.contract.columns().items()],\n',
        "",
        "lives",
        300,
    ),
    Plant(
        "the cap forgets the doubts of a killed process",
        "runner",
        "unknown=run.unknown + lost",
        "unknown=lost",
        "night",
        300,
    ),
    Plant(
        "a killed run's replies are left unsettled",
        "directory",
        "        _settle_left_over(journal)\n    except",
        "    except",
        "night",
        120,
    ),
    Plant(
        "a pack's answers are taken by their places",
        "items",
        "    for name, answer in _entries(text.strip(), tokens, flat):\n        if name in found:\n",
        "    for name, (_, answer) in zip(tokens, _entries(text.strip(), tokens, flat), strict=False):\n"
        "        if name in found:\n",
        "night",
        80,
    ),
    Plant(
        "of two answers the last is taken",
        "items",
        '        return Missed("doubled")\n',
        "        return said[-1]\n",
        "night",
        120,
    ),
    Plant("a key knows nothing of the model", "identity", "(provider, model, asked)", "(provider, asked)", "night", 80),
    Plant(
        "a row's share is rounded",
        "tally",
        'return total // among + (pl.col("place") < total % among).cast(pl.Int64)',
        "return total // among",
        "night",
        80,
    ),
    Plant(
        "a full disk is shrugged off",
        "journal",
        "        if self.broken is None:\n            self.broken = error\n",
        "",
        "disk",
        0.1,
    ),
    Plant(
        "a file that cannot be renamed is no matter",
        "replacement",
        "        temporary.unlink(missing_ok=True)\n        raise\n",
        "        return\n",
        "disk",
        0.3,
    ),
    Plant(
        "a connection is used again after an error",
        "lane",
        "        waiting = self._waiting\n        self.abort()\n",
        "        waiting, self._waiting = self._waiting, None\n",
        "lanes",
        500,
        (
            (
                "transport",
                "            lane.abort()\n            raise\n        self._rest(",
                "            self._rest(origin, lane, loop.time())\n            raise\n        self._rest(",
            ),
        ),
    ),
    Plant("the key is not blotted out", "client", '_blotter("" if', '_blotter("" if True or', "secrets", 0.2),
    Plant(
        "the lock is skipped",
        "journal",
        "return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "return None",
        "race",
        2,
    ),
    Plant(
        "the lock is on a name of its own",
        "journal",
        "_lock(fd, directory)\n            with",
        "_lock(os.open('/dev/shm/' + str(directory.absolute()).replace('/', '_'), os.O_CREAT | os.O_RDWR), directory)\n"
        "            with",
        "race",
        4,
    ),
    Plant(
        "the cap counts all runs of a directory",
        "runner",
        "spent=run.spent, unknown",
        "spent=history.spent, unknown",
        "lives",
        150,
    ),
    Plant(
        "a second run is let in",
        "journal",
        "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "lives",
        40,
    ),
    Plant(
        "an account that is empty makes rows fail",
        "wire",
        'return "out_of_credits", "stop", "credits"',
        'return "out_of_credits", "reject", None',
        "lives",
        60,
    ),
    Plant(
        "an error that comes with status 200 is an answer",
        "wire",
        '    if data.get("error"):\n        raise _broken(f"the reply is an error',
        '    if False:\n        raise _broken(f"the reply is an error',
        "replies",
        4000,
    ),
    Plant(
        "a stream without its end is an answer", "wire", "if not (begun and ended):", "if not begun:", "replies", 4000
    ),
    Plant(
        "what timed out on their side is free",
        "wire",
        'kind not in ("server_error", "timeout", "conflict")',
        'kind not in ("server_error", "conflict")',
        "replies",
        1000,
    ),
    Plant(
        "a chunk of a reply's body is heard twice",
        "lane",
        "self._body.append(chunk)",
        "self._body += [chunk] * 2",
        "replies",
        1000,
    ),
    Plant(
        "a pattern may backtrack for ever",
        "repair",
        r"""_DOUBLE = r'"[^"\\]*+(?""",
        r"""_DOUBLE = r'"(?:[^"\\]+)*(?""",
        "replies",
        4000,
    ),
    Plant("a dead endpoint is asked every second", "breaker", "PROBE_S = 60.0", "PROBE_S = 5.0", "outages", 1100),
    Plant(
        "a table that cannot be written is no matter of ours",
        "runner",
        "    except (OSError, TableError) as error:\n        ending.stop",
        "    except TableError as error:\n        ending.stop",
        "disk",
        0.2,
    ),
)


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
    done = subprocess.run(
        [sys.executable, "-m", "proofs.planted", str(number), str(seed)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
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
