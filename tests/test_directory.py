"""What a killed run left: its unsettled replies mean what they would have meant had it lived."""

from __future__ import annotations

import os

import pytest
from conftest import Flow
from parrot import Parrot

from journeybatch import entries, frames

DECLINED = "I'm sorry, but I can't help with that."


def cut_after_the_first_reply(flow: Flow) -> None:
    path = flow.output / "journal"
    data = memoryview(path.read_bytes())
    for frame in frames.scan(data, frames.identify(data) or b""):
        assert isinstance(frame, frames.Frame)
        if isinstance(entries.decode(frame.payload), entries.Received):
            os.truncate(path, frame.offset + frames.OVERHEAD + len(frame.payload))
            return


@pytest.mark.parametrize("model", ["deepseek-chat", ["deepseek-chat", "gpt-4o"]])
def test_a_reply_that_declines_is_one_too_where_a_kill_came_before_its_settlement(flow: Flow, model: object) -> None:
    parrot = Parrot(lambda task, asked: "gladly" if asked == "gpt-4o" else DECLINED, prices={"gpt-4o": 3})
    flow.write(["one row"])
    keys = {"model": model} | ({"escalate": ["refusal"]} if isinstance(model, list) else {})
    whole = flow.run({"transport": parrot}, **keys)
    cut_after_the_first_reply(flow)
    again = flow.run({"transport": parrot}, **keys)
    assert (again.exit_code, again.summary["rows"]) == (0, whole.summary["rows"])
    assert flow.results()["response"].to_list() == (["gladly"] if isinstance(model, list) else [DECLINED])
