"""A world with a cascade: what its cheap model declines, the strong one answers."""

from __future__ import annotations

from typing import Any

from proofs.checker import Evidence, judge
from proofs.world import CHEAP, STRONG, World, answer

DECLINED = "I'm sorry, but I can't help with that."


class Cascaded(World):
    """A world whose cheap model declines every fourth question."""

    @staticmethod
    def told(texts: Any) -> list[dict[str, str]]:
        return [{"question": text, CHEAP: cheap(text), STRONG: answer(text, STRONG)} for text in texts]

    def judge(self, bill: Any, **terms: Any) -> Any:
        said = {CHEAP: cheap, STRONG: lambda text: answer(text, STRONG)}
        return judge(
            Evidence(
                table=self.table,
                output=self.output,
                bill=bill,
                right=lambda row, model: {
                    "response": said[STRONG if int(row["text"][6:10]) % 4 == 0 else model](row["text"])
                },
                **terms,
            )
        )


def cheap(text: str) -> str:
    return DECLINED if int(text[6:10]) % 4 == 0 else answer(text, CHEAP)
