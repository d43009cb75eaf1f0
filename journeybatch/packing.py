"""Prompts into requests. One prompt a request so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from journeybatch.records import Message, Price, Prompt, Request


def requests(
    prompts: Iterable[Prompt],
    *,
    model: str,
    price: Price,
    body: Callable[[Sequence[Message]], bytes],
    first: int,
) -> Iterator[Request]:
    """The requests that carry ``prompts``, with ids counting from ``first``, made as they are pulled."""
    numbers = count(first)
    for prompt in prompts:
        yield Request(next(numbers), model, (prompt,), body(prompt.messages), price)
