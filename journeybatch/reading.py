"""Replies read: one verdict for each prompt that a reply was to answer.

Reading is free and can be done again: when what counts as an answer changes, every reply in the journal is read
anew before anything is asked.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from journeybatch import repair
from journeybatch.answers import Contract, Invalid, text_contract
from journeybatch.archive import HELD, let_go, mapped, received
from journeybatch.attempts import SETTLED
from journeybatch.entries import Received
from journeybatch.errors import ApiFailure
from journeybatch.escalation import Rules, declines
from journeybatch.excerpt import clean
from journeybatch.history import History
from journeybatch.identity import KEY_BYTES
from journeybatch.items import Missed, answers, token
from journeybatch.records import Completion, Reply
from journeybatch.verdict import (
    ANSWERED,
    DECLINED,
    INVALID,
    MISSED,
    READABLE,
    REFUSED,
    UNFIT,
    UNREAD,
    WEAK,
    Verdict,
    scored,
)
from journeybatch.wire import judge


class Reader:
    """Reads replies by a contract (what an answer is) and the rules of a cascade (what is good enough)."""

    def __init__(self, contract: Contract, rules: Rules = Rules()) -> None:  # noqa: B008  frozen
        self.contract, self.rules = contract, rules

    @cached_property
    def identity(self) -> bytes:
        """Eight bytes that name this way of reading; empty for plain text without rules."""
        said = self.rules.identity
        if not self.contract.structured and not said:
            return b""
        return blake2b(f"{self.contract.identity}\n{said}".encode(), digest_size=8).digest()

    def read(self, reply: Reply, journal: bytes, request: int, keys: Sequence[bytes]) -> list[Verdict]:
        """The verdicts on a reply to ``request``, asked under the tokens of ``journal``, for its ``keys`` in order."""
        if len(keys) == 1:
            return [self._alone(reply)]
        if reply.text is None:
            return [Verdict(MISSED, message=f"the whole pack was refused: {clean(reply.refusal or '')}")] * len(keys)
        tokens = [token(journal, request, key) for key in keys]
        return [self._item(item) for item in answers(reply.text, tokens, flat=self.contract.structured)]

    def _alone(self, reply: Reply) -> Verdict:
        if reply.text is None:
            return Verdict(REFUSED, message=clean(reply.refusal or ""))
        try:
            values = self.contract.read(reply.text)
        except Invalid as why:
            declined = declines(reply.text)
            return Verdict(REFUSED if declined else INVALID, text=reply.text, message=clean(str(why)))
        return self._answered(values, reply.text, reply.finish_reason)

    def _item(self, item: Any) -> Verdict:
        """The verdict on a pack's item. One that cannot be read is asked alone: only then is it the row's own fault.
        One that is whole was not cut off, though the reply may have been."""
        if isinstance(item, Missed):
            return Verdict(MISSED, message=f"the item was {item.why} in the reply to its pack")
        try:
            values = self.contract.check(item)
            text = repair.string(item if isinstance(item, str) else repair.compact(item))
        except (Invalid, ValueError, RecursionError) as why:
            return Verdict(UNFIT, message=clean(str(why)))
        return self._answered(values, text, None)

    def _answered(self, values: dict[str, Any], text: str, finish_reason: str | None) -> Verdict:
        weak = self.rules.weak(finish_reason, values)
        code = WEAK if weak else ANSWERED
        if not self.contract.structured and declines(text) and (not weak or "refusal" in self.rules.on):
            code = DECLINED
        return Verdict(code, values, text, sense=self._sense(values))

    def _sense(self, values: dict[str, Any]) -> int:
        if self.rules.score:
            return scored(values.get(self.rules.score))
        if self.rules.disagree == 1:
            return 0
        said = self.contract.sense(values).encode("utf-8", "replace")
        return int.from_bytes(blake2b(said, digest_size=8).digest(), "big") or 1

    def verdicts(self, entry: Received, journal: bytes) -> list[Verdict]:
        """The verdicts on a reply as it stands in a journal; all ``UNREAD`` where it is no whole completion."""
        keys = [entry.keys[at : at + KEY_BYTES] for at in range(0, len(entry.keys), KEY_BYTES)]
        try:
            reply = judge(Completion(entry.status, entry.headers, entry.body, entry.latency_s))
        except ApiFailure:
            return [Verdict(UNREAD)] * len(keys)
        return self.read(reply, journal, entry.request, keys)


PLAIN = Reader(text_contract("response"))
"""Any text is an answer."""


_CODES = [bytes([code]) for code in range(256)]


def codes_of(verdicts: Sequence[Verdict]) -> tuple[bytes, bytes]:
    """Codes and senses as an entry holds them; senses are left out where nobody compares."""
    if len(verdicts) == 1 and not verdicts[0].sense:  # nearly always
        return _CODES[verdicts[0].code], b""
    codes = bytes([verdict.code for verdict in verdicts])
    if not any([verdict.sense for verdict in verdicts]):  # noqa: C419  a generator takes longer than a list of one
        return codes, b""
    return codes, b"".join(verdict.sense.to_bytes(8, "big") for verdict in verdicts)


class Rereading(msgspec.Struct, frozen=True):
    """What came of reading ``replies`` again: how many of the answers that they carry came out ``differently`` and how
    many of these can be read no more (``lost``); ``changed`` has the attempts of which that is news for a journal."""

    replies: int = 0
    differently: int = 0
    lost: int = 0
    changed: Sequence[int] = ()


def reread(history: History, path: Path, reader: Reader, *, all_of_them: bool = False) -> Rereading:
    """Read every settled reply that nobody has read by this reader's rules (or ``all_of_them``), and fold the new
    verdicts into ``history``, whose journal is at ``path``."""
    a, identity = history.attempts, reader.identity
    history.read_by(identity)
    asked = range(len(a)) if all_of_them else _unread(history, identity)
    chosen = array("q", (i for i in asked if a.charge[i] == SETTLED and a.offset[i] >= 0))
    if not chosen:
        return Rereading()
    changed, differently, lost, held = array("q"), 0, 0, HELD
    with mapped(path) as buffer:
        for i in chosen:
            entry = received(buffer, history, i)
            if a.offset[i] > held:
                let_go(buffer)
                held = a.offset[i] + HELD
            before, unread = a.verdicts(i), history.is_unread(i, identity)
            after = codes_of(reader.verdicts(entry, history.origin(i)))
            if after == before and not unread:
                continue
            pairs = [(was, now) for was, now in zip(before[0], after[0], strict=True) if was not in (now, UNREAD)]
            differently += len(pairs)
            lost += sum(was in READABLE and now not in READABLE for was, now in pairs)
            history.read_again(i, identity, *after)
            changed.append(i)
    return Rereading(len(chosen), differently, lost, changed)


def _unread(history: History, reading: bytes) -> Iterator[int]:
    """The attempts whose reply, if there is one, has yet to be read in this way."""
    number = history.was_asked(reading)
    for page, span in history.attempts.pages():
        if UNREAD in page.code or page.read[: len(span)].count(number) < len(span):
            yield from (index for index in span if history.is_unread(index, reading))
