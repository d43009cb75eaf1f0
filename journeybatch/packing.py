"""Prompts into requests: which go together, and what is sent.

The grouping is a pure function of the prompts' order, kinds and lengths, so that a plan counts exactly the requests
that a run will send. It keeps a few packs open and puts each prompt into the first it fits into: long and short rows
mix, and one very long row goes alone instead of cutting a pack short.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from journeybatch.items import alone, compose, token
from journeybatch.records import Message, Price, Prompt, Request
from journeybatch.survey import Survey

OPEN_PACKS = 8
CHARACTERS = 100_000
"""Most characters of prompts in one request, unless the job says otherwise: about 25,000 tokens of English."""

Thing = TypeVar("Thing")
Body = Callable[[Sequence[Message], int], bytes]


class Limit(msgspec.Struct, frozen=True):
    """How many prompts, and characters of them, one request may carry."""

    rows: int
    characters: int = CHARACTERS


class Piece(msgspec.Struct, frozen=True):
    """A prompt on its way into a pack: only pieces of one ``kind`` go together, at most ``rows`` of them, each of
    so many ``characters``, which a pack shares ``base`` more of."""

    kind: Hashable
    rows: int
    characters: int = 0
    base: int = 0


ALONE = Piece(None, 1)


class _Open:
    """A pack that is being filled."""

    __slots__ = ("characters", "kind", "things")

    def __init__(self, kind: Hashable, base: int) -> None:
        self.kind = kind
        self.characters = base
        self.things: list[object] = []


def group(pieces: Iterable[tuple[Piece, Thing]], characters: int = CHARACTERS) -> Iterator[list[Thing]]:
    """Packs of things, each within its pieces' ``rows`` and ``characters`` in all; no thing is lost or doubled.

    A pack leaves when it is full, when too many are open (the fullest), or at the end (in the order they were begun).
    """
    packs: list[_Open] = []
    for piece, thing in pieces:
        if piece.rows <= 1 or piece.base + piece.characters >= characters:
            yield [thing]
            continue
        kind = (piece.kind, piece.rows)
        pack = next((p for p in packs if p.kind == kind and p.characters + piece.characters <= characters), None)
        if pack is None:
            if len(packs) >= OPEN_PACKS:
                yield _leave(packs, max(packs, key=lambda p: (len(p.things), p.characters)))
            pack = _Open(kind, piece.base)
            packs.append(pack)
        pack.things.append(thing)
        pack.characters += piece.characters
        if len(pack.things) >= piece.rows:
            yield _leave(packs, pack)
    for pack in packs:
        yield pack.things  # type: ignore[misc]  # a pack holds what was put in


def _leave(packs: list[_Open], pack: _Open) -> list[Thing]:
    packs.remove(pack)
    return pack.things  # type: ignore[return-value]


class Sizing(msgspec.Struct, frozen=True):
    """How a survey's prompts go into packs: the ``limit``, the characters of a pack that are nobody's prompt,
    ``rooms``: how many prompts a pack may have that takes one of certain keys, and the ``steps`` whose prompts are
    packed at all (None: all)."""

    limit: Limit
    overhead: int = 0
    rooms: Mapping[bytes, int] = {}
    steps: frozenset[int] | None = None

    def piece(self, surveyed: Survey, step: int, at: int) -> Piece:
        """The piece that the prompt at place ``at`` of a ``step``'s keys makes. Different samples and variants of
        a row never meet in a pack: the model would repeat itself."""
        if self.limit.rows <= 1 or surveyed.extents is None or not self._packs(step):
            return ALONE
        characters, head, head_characters = surveyed.extents.row(at // surveyed.samples)
        if head is None:
            return ALONE
        rows = self.limit.rows
        if self.rooms:
            rows = min(rows, self.rooms.get(surveyed.steps[step][at], rows))
        return Piece((head, at % surveyed.width), rows, characters, self.overhead + head_characters)

    def _packs(self, step: int) -> bool:
        return self.steps is None or step in self.steps

    def packs(self, surveyed: Survey, step: int, things: Iterable[tuple[int, Thing]]) -> Iterator[list[Thing]]:
        """``things``, each with its place among the step's keys, in packs."""
        if self.limit.rows <= 1 or not self._packs(step):
            return ([thing] for _, thing in things)
        return group(((self.piece(surveyed, step, at), thing) for at, thing in things), self.limit.characters)


class Wording(msgspec.Struct, frozen=True):
    """How prompts are put to a model: the JSON ``body`` of messages for so many rows, what to say about the
    answer's form, and the journal whose tokens mark the items of a pack."""

    body: Body
    instructions: str = ""
    journal: bytes = b""

    def write(self, prompts: Sequence[Prompt], request: int) -> bytes:
        """The body of a request that carries ``prompts``, whose heads are all the same."""
        if len(prompts) == 1:
            return self.body(alone(prompts[0].messages, self.instructions), 1)
        tasks = [(token(self.journal, request, prompt.key), prompt.messages[-1].content) for prompt in prompts]
        return self.body(compose(prompts[0].messages[:-1], tasks, self.instructions), len(prompts))


def requests(
    packs: Iterable[Sequence[Prompt]], *, model: str, price: Price, wording: Wording, numbers: Iterator[int]
) -> Iterator[Request]:
    """The requests that carry ``packs``, with the next of ``numbers`` for ids, made as they are pulled."""
    for pack in packs:
        number = next(numbers)
        yield Request(number, model, tuple(pack), wording.write(pack, number), price)
