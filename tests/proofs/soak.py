"""Soak: one job of very many rows, with faults, killed in its middle more than once; and what it holds meanwhile.

A process apart looks at each process of the job every second: its resident memory, its descriptors, its threads and the
tasks of its event loop. A run whose memory grew with its rows, or that lost a descriptor or a task now and then, would
show it here and nowhere else.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from proofs.checker import Broken, Evidence, Sums, judge
from proofs.kills import environment
from proofs.torrent import WIDTH
from proofs.world import CHEAP, answer

HERE = Path(__file__).parents[1]
EVERY_S = 1.0
IN_FLIGHT = 128
FAULTS = 0.05
PATIENCE_S = 3600.0
PEAK_MB, SLOPE_MB, DESCRIPTORS, TASKS = 400.0, 1.0, IN_FLIGHT + 64, IN_FLIGHT + 32
"""What is promised for a million rows: resident memory, its growth for each 100,000 rows, open descriptors, tasks."""
LEAST_ROWS = 500_000
"""With fewer rows a slope says nothing: a process has not yet come to rest."""


class Moment(NamedTuple):
    """One look at a process: seconds since the soak began, which process it was, requests by then on the server's
    bill, resident memory and its highest so far in MB, descriptors, threads, tasks."""

    at_s: float
    process: int
    asked: int
    mb: float
    most_mb: float
    descriptors: int
    threads: int
    tasks: int


class Table(Sequence[dict[str, str]]):
    """So many rows, each made when it is wanted."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < self.rows:
            raise IndexError(place)
        return {"id": f"{place:07}", "text": f"thing {place:07}."}


class Bill(Sequence[dict[str, Any]]):
    """The torrent's bill, read as it is gone through."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return self.path.stat().st_size // WIDTH if self.path.exists() else 0

    def __getitem__(self, place: Any) -> Any:
        with self.path.open("rb") as file:
            file.seek(place * WIDTH)
            return json.loads(file.read(WIDTH))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self.path.open() as file:
            yield from map(json.loads, file)


class Soak:
    """A directory with a job of ``rows`` rows, and what was seen of its processes."""

    def __init__(self, path: Path, rows: int, seed: int) -> None:
        self.path, self.output, self.seed = path, path / "out", seed
        self.table, self.bill = Table(rows), Bill(path / "bill.jsonl")
        self.began, self.moments = time.monotonic(), []  # type: float, list[Moment]
        self.deaths: list[float] = []
        with (path / "rows.csv").open("w") as file:
            file.write("id,text\n")
            file.writelines(f"{row['id']},{row['text']}\n" for row in self.table)

    @contextmanager
    def torrent(self) -> Iterator[None]:
        """Its upstream; all of the bill is in its file afterwards."""
        told = [sys.executable, "-m", "proofs.torrent", self.bill.path, "--faults", FAULTS, "--seed", self.seed]
        pipe = subprocess.PIPE
        with subprocess.Popen([*map(str, told)], stdin=pipe, stdout=pipe, cwd=HERE, text=True) as process:
            assert process.stdout is not None
            job = {
                "name": "soak",
                "input": str(self.path / "rows.csv"),
                "prompt": "Say something about {{ text }}",
                "model": CHEAP,
                "concurrency": IN_FLIGHT,
                "api": {"base_url": json.loads(process.stdout.readline())["base_url"]},
                "output": str(self.output),
            }
            (self.path / "job.json").write_text(json.dumps(job))
            yield

    def live(self, number: int, until: int | None) -> int:
        """One process of the job, killed when so many requests were billed, if ever. Returns its exit code."""
        counted = self.path / "tasks"
        counted.write_text("0")
        told = [sys.executable, "-m", "proofs.tasks", counted, "run", self.path / "job.json", "--quiet"]
        with (self.path / "said").open("w") as said:
            process = subprocess.Popen(told, env=environment(self.path), cwd=HERE, stdout=said, stderr=said)
        due = time.monotonic()
        while process.poll() is None:
            if until is not None and len(self.bill) >= until:
                process.kill()
                process.wait()
                self.deaths.append(time.monotonic() - self.began)
                break
            if time.monotonic() >= due:
                due += EVERY_S
                self._look(process.pid, number)
            if time.monotonic() - self.began > PATIENCE_S:
                process.kill()
                raise Broken(f"not done after {PATIENCE_S:.0f} s, with {len(self.bill)} requests")
            time.sleep(0.02)
        return process.returncode

    def _look(self, pid: int, number: int) -> None:
        with suppress(OSError, KeyError):  # it may have ended
            lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            told = {name: int(value.split()[0]) for name, _, value in lines if name in ("VmRSS", "VmHWM", "Threads")}
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            rss, peak = told["VmRSS"] / 1024, told["VmHWM"] / 1024
            at = time.monotonic() - self.began
            tasks = int((self.path / "tasks").read_text())
            self.moments.append(Moment(at, number, len(self.bill), rss, peak, descriptors, told["Threads"], tasks))

    def judge(self) -> Sums:
        """Have the checker look at it."""
        return judge(
            Evidence(
                table=self.table,
                output=self.output,
                bill=self.bill,
                right=lambda row, model: {"response": answer(row["text"], model)},
            )
        )


def slope(moments: Sequence[Moment]) -> float:
    """MB that a process grows by for each 100,000 requests, while it sends: least squares over the last three quarters
    of the longest stretch between two kills. 0 where too little was seen."""
    longest: list[Moment] = []
    for number in {each.process for each in moments}:
        mine = [each for each in moments if each.process == number]
        sending = [each for each in mine if mine[0].asked < each.asked < mine[-1].asked]
        if len(sending) > len(longest):
            longest = sending
    calm = longest[len(longest) // 4 :]
    if len(calm) < 8:
        return 0.0
    middle = sum(each.asked for each in calm) / len(calm)
    mean = sum(each.mb for each in calm) / len(calm)
    spread = sum((each.asked - middle) ** 2 for each in calm)
    return sum((each.asked - middle) * (each.mb - mean) for each in calm) / spread * 1e5


def plot(soak: Soak) -> str:
    """What was seen, as SVG: memory above, descriptors below, a line for each kill."""
    seen = soak.moments[:: max(1, len(soak.moments) // 400)]
    end = max(seen[-1].at_s, 1.0)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 340" font-family="sans-serif" font-size="12">',
        '<rect width="760" height="340" fill="#fff"/>',
        f'<text x="50" y="18">{len(soak.table):,} rows, {FAULTS:.0%} faults, {len(soak.deaths)} kills (red), '
        f"{IN_FLIGHT} in flight; seconds</text>",
    ]

    def across(at_s: float) -> float:
        return 50 + 690 * at_s / end

    for top, height, name, colour, values in (
        (30, 170, "resident memory, MB", "#1f5fa8", [each.mb for each in seen]),
        (220, 90, "open descriptors", "#2c7a4b", [float(each.descriptors) for each in seen]),
    ):
        most = max(values) * 1.05
        for mark in (0, max(values)):
            y = top + height * (1 - mark / most)
            parts.append(f'<path d="M50 {y:.1f}H740" stroke="#ddd"/>')
            parts.append(f'<text x="45" y="{y + 4:.1f}" text-anchor="end">{mark:.0f}</text>')
        parts.append(f'<text x="55" y="{top + 14}" fill="{colour}">{name}</text>')
        for number in sorted({each.process for each in seen}):
            pairs = [(each.at_s, value) for each, value in zip(seen, values, strict=True) if each.process == number]
            line = " ".join(f"{across(at):.1f},{top + height * (1 - value / most):.1f}" for at, value in pairs)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    parts += [f'<path d="M{across(at):.1f} 30V310" stroke="#c0392b" stroke-dasharray="4 3"/>' for at in soak.deaths]
    for tenth in range(0, 11, 2):
        at = end * tenth / 10
        parts.append(f'<text x="{across(at):.1f}" y="328" text-anchor="middle">{at:.0f}</text>')
    return "\n".join([*parts, "</svg>", ""])


def prove(rows: int, seed: int, kills: int = 3, page: Path | None = None) -> tuple[int, str]:
    """Soak a job of so many rows; draw what was seen onto ``page``. Returns the rows and a sentence. Raises Broken."""
    rng = random.Random(seed)
    with TemporaryDirectory() as folder:
        soak = Soak(Path(folder), rows, seed)
        with soak.torrent():
            for number in range(kills):
                until = round(rows * (number + 0.5 + rng.random() / 2) / (kills + 1))
                if (code := soak.live(number, until)) != -9:
                    raise Broken(f"seed {seed}: process {number} was to be killed, and ended with {code}")
            code = soak.live(kills, None)
        if code != 0:
            said = (soak.path / "said").read_text()
            raise Broken(f"seed {seed}: the run that carries on ends with {code}: {said[-500:]}")
        try:
            sums = soak.judge()
        except Broken as broken:
            raise Broken(f"seed {seed}: {broken}") from None
        if page is not None:
            page.write_text(plot(soak))
        return rows, _told(soak, sums)


def _told(soak: Soak, sums: Sums) -> str:
    rows, seen, seconds = len(soak.table), soak.moments, time.monotonic() - soak.began
    again, most = sums.certain - rows, max(each.most_mb for each in seen)
    descriptors, growth = max(each.descriptors for each in seen), slope(seen)
    if again:
        raise Broken(f"{again} credits were certainly paid beyond one for each row")
    tasks = max(each.tasks for each in seen)
    if most > PEAK_MB or descriptors > DESCRIPTORS or tasks > TASKS or (rows >= LEAST_ROWS and growth > SLOPE_MB):
        said = f"{most:.0f} MB, {growth:.1f} MB for each 100,000 rows, {descriptors} descriptors, {tasks} tasks"
        raise Broken(f"{said}; wanted: {PEAK_MB:.0f}, {SLOPE_MB}, {DESCRIPTORS}, {TASKS}")
    grown = f", {growth:+.2f} MB for each 100,000 rows" if rows >= LEAST_ROWS else ""
    return (
        f"{len(soak.deaths)} kills; {sums.attempts:,} requests, {sums.billed:,} credits billed, {sums.certain:,} of "
        f"them certain and at most {sums.certain + sums.unknown:,} by the ledger; at most {most:.0f} MB{grown}, "
        f"{descriptors} descriptors, {max(each.threads for each in seen)} threads, {tasks} tasks; all done and judged "
        f"after {seconds:.0f} s"
    )
