"""The benchmarks' own parts: what is kept of a measure, and which server is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import polars as pl
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_every_round_is_a_row_and_what_was_kept_before_stays(tmp_path: Path) -> None:
    from measures import SCHEMA, Line, Measure, keep

    line = Line("ours", 0.05, 100, (Measure(1.0, 0.5, 90.0), Measure(3.0, 0.4, 80.0), Measure(2.0, 0.6, 70.0)))
    keep(tmp_path / "kept.parquet", "bench", [line])
    keep(tmp_path / "kept.parquet", "sending", [line])
    kept = pl.read_parquet(tmp_path / "kept.parquet")
    assert kept.schema == pl.Schema(SCHEMA)
    assert kept["benchmark"].to_list() == ["bench"] * 3 + ["sending"] * 3
    assert kept["wall_s"].to_list() == [1.0, 3.0, 2.0] * 2
    assert set(kept["cores"]) != {None}
    assert (line.rows_s, line.cpu_us, line.times_ideal) == (50, 4000, pytest.approx(2.0 / (100 * 0.05 / 256)))


def test_what_is_measured_does_not_begin_with_the_memory_of_the_benchmark(tmp_path: Path) -> None:
    from stage import measure

    taken = measure([sys.executable, "-S", "-c", "pass"], tmp_path / "log")
    assert 1 < taken.rss_mib < 40  # this process, with polars in it, has more
    assert taken.cpu_s > 0
    assert abs(taken.began_at + taken.wall_s - time.time()) < 30


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    from stage import measure

    with pytest.raises(SystemExit, match=r"ended with 3:\nno luck"):
        measure([sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"], tmp_path / "log")


def test_a_server_of_ones_own_is_asked_at_its_latency_only() -> None:
    from stage import read_upstreams, upstream

    own = read_upstreams(["0.05=http://127.0.0.1:8050/api/v1/"])
    with upstream(0.05, own=own) as server:
        assert (server.base_url, server.process) == ("http://127.0.0.1:8050/api/v1", None)
    with upstream(0.0, own=own) as server:
        assert server.process is not None
    with pytest.raises(SystemExit, match="expected SECONDS=URL"):
        read_upstreams(["http://127.0.0.1:8050"])


def test_the_upstream_tells_when_the_first_completion_was_asked_for_and_nothing_else_counts() -> None:
    from stage import upstream

    with upstream(0.0) as server:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{server.base_url}/account")
        before = time.time()
        reply = urllib.request.urlopen(f"{server.base_url}/chat/completions", data=b"{}").read()
        assert before <= server.first_request_at() <= time.time()
    assert json.loads(reply)["object"] == "chat.completion"


def test_latencies_with_a_tail_are_the_same_for_the_same_seed_and_have_an_end() -> None:
    from upstream import latencies

    drawn = [[next(one) for _ in range(2_000)] for one in (latencies(0.05, 1.0, 1.0, seed) for seed in (7, 7, 8))]
    assert drawn[0] == drawn[1] != drawn[2]
    assert max(drawn[0]) == 1.0
    assert sorted(drawn[0])[1_000] == pytest.approx(0.05, rel=0.2)


def test_the_raw_client_counts_every_row(tmp_path: Path) -> None:
    from stage import upstream, write_table

    write_table(tmp_path / "rows.csv", 300)
    with upstream(0.0) as server:
        command = [
            sys.executable,
            BENCHMARKS / "raw.py",
            tmp_path / "rows.csv",
            tmp_path / "told",
            server.base_url,
            "8",
        ]
        subprocess.run(list(map(str, command)), check=True)
    assert json.loads((tmp_path / "told").read_text())["answered"] == 300


def test_a_peer_that_is_not_installed_is_named_with_the_way_to_get_it() -> None:
    from contestants import Contestant

    with pytest.raises(SystemExit, match="make peers"):
        Contestant("nobody", "peers/diy.py", "nowhere", "openai").version()


def test_drawings_of_what_was_kept_are_small(tmp_path: Path) -> None:
    from measures import OURS, Line, Measure, keep

    rounds = (Measure(1.0, 0.5, 90.0), Measure(1.2, 0.6, 90.0))
    kept = tmp_path / "kept.parquet"
    keep(kept, "bench-peers", [Line(OURS, 0.05, 100, rounds), Line("another", 0.05, 100, rounds, version="1.2")])
    keep(kept, "sending", [Line(f"{n}", 0.0, n, rounds) for n in (1_000, 10_000)])
    subprocess.run([sys.executable, BENCHMARKS / "plot.py", kept, tmp_path], check=True, stdout=subprocess.DEVNULL)
    for name, text in (("peers.svg", "another 1.2"), ("growth.svg", "10k")):
        drawing = (tmp_path / name).read_text("utf-8")
        assert text in drawing
        assert len(drawing) < 40_000
