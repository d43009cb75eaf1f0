"""A journal damaged in the middle costs nothing behind the user's back."""

from __future__ import annotations

import pytest

import journeybatch
from journeybatch.emulator import Emulator
from journeybatch.errors import Unanswered


@pytest.fixture
def damaged(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("text\n" + "".join(f"row {n}\n" for n in range(60)))
    job = {
        "name": "d",
        "input": str(table),
        "prompt": "Say {{ text }}",
        "model": "deepseek-chat",
        "api": "emulator",
        "limits": {"credits": 40},
        "output": str(tmp_path / "out"),
    }
    emulator = Emulator()
    assert journeybatch.run(job, transport=emulator.transport()).exit_code == 3
    journal = tmp_path / "out" / "journal"
    size = journal.stat().st_size
    with journal.open("r+b") as file:
        file.seek(size // 3)
        file.write(b"Z" * (size // 5))
    return job, emulator


def test_a_damaged_journal_is_asked_about_before_anything_is_sent(damaged):
    job, emulator = damaged
    before = emulator.billed
    with pytest.raises(Unanswered, match="entries are lost"):
        journeybatch.run(job, transport=emulator.transport())
    assert emulator.billed == before


def test_what_was_lost_still_counts_against_the_cap(damaged):
    job, emulator = damaged
    report = journeybatch.run(job, transport=emulator.transport(), yes=True)
    assert report.exit_code == 3
    assert emulator.billed <= 40


def test_a_key_that_a_stream_spells_in_pieces_is_in_no_file(tmp_path):
    import httpx

    key = "CANARYkey-7f3a9b2c51d"

    def answer(request):
        if request.url.path.endswith("/account"):
            return httpx.Response(404)
        pieces = [
            f'data: {{"choices":[{{"delta":{{"content":"{part}"}}}}]}}\n\n' for part in (key[:7], key[7:13], key[13:])
        ]
        end = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        return httpx.Response(
            200, headers={"content-type": "text/event-stream"}, content=": keep-alive\n\n" + "".join(pieces) + end
        )

    (tmp_path / "key").write_text(key + "\n")
    (tmp_path / "t.csv").write_text("text\na\n")
    report = journeybatch.run(
        {
            "name": "s",
            "input": str(tmp_path / "t.csv"),
            "prompt": "Say {{ text }}",
            "model": "deepseek-chat",
            "stream": True,
            "api": {"base_url": "http://127.0.0.1:9/v1", "key_file": str(tmp_path / "key")},
            "output": str(tmp_path / "out"),
        },
        transport=httpx.MockTransport(answer),
    )
    import polars as pl

    assert report.exit_code == 0
    assert pl.read_parquet(report.results)["response"].to_list() == ["***"]
    for path in (tmp_path / "out").iterdir():
        assert key.encode() not in path.read_bytes()
