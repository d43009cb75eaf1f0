"""requests.parquet: one row per attempt, of this run, to the credit."""

from __future__ import annotations

import httpx
import polars as pl
import pytest
from conftest import Flow
from parrot import Parrot

from journeybatch.archive import read_history
from journeybatch.errors import TableError
from journeybatch.statement import request_columns, write_requests


def test_an_attempt_names_its_keys_its_charge_and_its_end(flow: Flow) -> None:
    def act(parrot: Parrot, request: httpx.Request) -> httpx.Response | None:
        answers = iter([httpx.Response(400, json={"error": {"message": "too large"}}), None])
        return next(answers) if not parrot.bill and b"thing 11" in request.content else None

    parrot = Parrot(act=act, spoil=lambda items, _: items[:-1])
    flow.run({"transport": parrot}, pack=12, limits={"failures": "100%"})
    ledger = flow.ledger()
    assert dict(ledger.schema) == request_columns()
    rejected = ledger.row(0, named=True)
    assert (rejected["rows"], rejected["status_code"], rejected["outcome"], rejected["credits"]) == (12, 400, "free", 0)
    assert (rejected["error"], rejected["upstream_id"]) == ("rejected", None)
    assert "too large" in rejected["error_message"]
    paid = ledger.filter(outcome="settled")
    assert paid["upstream_id"].to_list() == [name for name, *_ in parrot.bill]
    assert paid["rows"].to_list() == [len(asked) for *_, asked in parrot.bill] == paid["keys"].list.len().to_list()
    assert set(paid.filter(pl.col("rows") > 1)["error"]) == {"missed"}, "an item was left out"
    assert set(flow.results()["jb_key"]) == set(ledger["keys"].explode())
    assert ledger["request"].n_unique() == ledger.height, "nothing was retried"


def test_each_run_has_a_statement_of_its_own_without_what_was_borrowed(flow: Flow) -> None:
    parrot = Parrot()
    flow.run({"transport": parrot}, pack=5)
    other, flow.output = flow.output, flow.path / "own"
    flow.write(["thing 1", "new"])
    flow.run({"transport": parrot}, reuse=[str(other)])
    assert flow.ledger().select("request", "rows").rows() == [("q0", 1)]
    flow.write(["thing 1", "new", "newer"])
    flow.run({"transport": parrot})
    assert pl.read_parquet(flow.output / "requests.parquet")["request"].to_list() == ["q1"]
    assert pl.read_parquet(flow.output / "requests" / "1.parquet")["request"].to_list() == ["q0"]


def test_what_reads_back_differently_leaves_the_last_good_file(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.run({"transport": Parrot()}, pack=5)
    history, path = read_history(flow.output / "journal"), flow.output / "requests.parquet"
    before = path.read_bytes()
    monkeypatch.setattr("journeybatch.statement._ROWS", 10**9)
    monkeypatch.setattr("journeybatch.statement._attempts", lambda *_: pl.read_parquet(path).head(1))
    with pytest.raises(TableError, match="reads back differently"):
        write_requests(history, flow.output / "journal", path, 1, {})
    assert path.read_bytes() == before
