"""What the emulator does with a request, as a pure matter: request in, plan of a reply out, the bill kept.

No clock, no socket and no waiting here; ``transport``, ``server`` and ``raw`` perform the plans.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from journeybatch.catalog import MODELS
from journeybatch.emulator.answer_key import AnswerKey
from journeybatch.emulator.bill import Bill, Billed
from journeybatch.emulator.damage import damage
from journeybatch.emulator.faults import LOST, Draw, Faults, Outage
from journeybatch.emulator.mind import Mind, Said
from journeybatch.emulator.openapi import openapi
from journeybatch.emulator.question import Question, Rejected, read_question
from journeybatch.emulator.replies import count_tokens, cut_tokens
from journeybatch.emulator.shapes import (
    EPOCH,
    Answer,
    Call,
    Reply,
    completion_reply,
    error_reply,
    json_reply,
    retry_after,
    stream_reply,
)
from journeybatch.emulator.upstream import UPSTREAM, price_list

if TYPE_CHECKING:
    from journeybatch.emulator.transport import EmulatorTransport

PREFIX = "/api/v1"
MAX_BODY = 16 * 1024 * 1024
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE | re.ASCII)


@dataclass(slots=True)
class _Turn:
    """What became of one attempt: the reply, and what the bill says about it."""

    reply: Reply
    model: str | None = None
    credits: int = 0
    fault: str | None = None
    id: str | None = None


@dataclass(kw_only=True)
class Emulator:
    """A local JourneyAPI and its books.

    ``latency_s`` passes before every completion, besides the latency of ``faults``. ``credits`` is the account's
    balance at the start, ``prices`` overrides credits per request by model, ``key`` is the one key that is good
    (None: any is), ``bill`` a file that keeps the bill as JSON lines and is carried on if it exists, ``answers`` what
    is said to questions that are known. ValueError for prices that make no sense, OSError for a bill that cannot be
    written. Close it, or use it as a context.
    """

    latency_s: float = 0.0
    faults: Faults = field(default_factory=Faults)
    credits: int = 1_000_000
    prices: Mapping[str, int] = field(default_factory=dict)
    key: str | None = field(default=None, repr=False)
    bill: str | os.PathLike[str] | None = None
    answers: AnswerKey | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._prices = price_list(self.prices)
        self._mind = Mind(self.answers, self.faults)
        self._bill = Bill(self.bill)
        self._unseen: deque[tuple[float, int]] = deque()
        self._admitted: deque[float] = deque()
        self._started: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the bill's file. The books stay readable; nothing can be answered any more."""
        self._bill.close()

    @property
    def attempts(self) -> list[Billed]:
        """Every request to chat/completions that arrived, in order of arrival."""
        return list(self._bill.attempts)

    @property
    def billed(self) -> int:
        """All credits charged so far."""
        return self._bill.credits

    @property
    def balance(self) -> int:
        """What is left on the account."""
        return self.credits - self._bill.credits

    def transport(self) -> EmulatorTransport:
        """An httpx transport that answers in this process, without a socket."""
        from journeybatch.emulator.transport import EmulatorTransport

        return EmulatorTransport(self)

    def serving(self, port: int = 0) -> AbstractContextManager[str]:
        """A context in which this is served on loopback, by a thread of this process: it gives the base URL. Port 0 is
        a free one; OSError when the port is taken."""
        from journeybatch.emulator import server

        return server.serving(self, port)

    def start(self, now: float) -> float:
        """When serving began, on the clock that ``now`` is from: outages count from there. The first call sets it."""
        if self._started is None:
            self._started = now
        return self._started

    def answer(self, call: Call, now: float) -> Reply:
        """The plan of the reply to a request that arrives at ``now`` (seconds). Charges, and writes the bill."""
        since = now - self.start(now)
        path, _, query = call.target.partition("?")
        outage = self.faults.outage(since)
        if outage and outage.how == "refuse":
            return Reply(0, (), (), end="refuse")
        if path == f"{PREFIX}/chat/completions" and call.method == "POST":
            return self._attempt(call, since, outage)
        while self._unseen and self._unseen[0][0] <= since:
            self._unseen.popleft()
        reply = self._look_up(call, path, query, outage)
        return _labelled(reply, f"req_{hashlib.sha256(call.target.encode()).hexdigest()[:16]}")

    def _look_up(self, call: Call, path: str, query: str, outage: Outage | None) -> Reply:
        routes = {"/account": self._account, "/models": self._models, "/openapi.json": _openapi}
        route = path.removeprefix(PREFIX) if path.startswith(PREFIX) else ""
        if call.method == "GET" and route == "/emulator/bill":
            return json_reply(200, dict(self._bill.summary(totals="totals=1" in query)))
        if outage:
            return self._outage_reply(outage)
        if route in routes or route in ("/chat/completions", "/emulator/bill"):
            if call.method != "GET" or route not in routes:
                reply = error_reply(405, f"Not allowed to {call.method} on {path}.", "method_not_allowed")
                allowed = ("allow", "POST" if route == "/chat/completions" else "GET")
                return replace(reply, headers=(*reply.headers, allowed))
            return (None if route == "/openapi.json" else self._unauthorized(call)) or routes[route]()
        return error_reply(404, f"Unknown request URL: {call.method} {path}.", "unknown_url")

    def _account(self) -> Reply:
        shown = self.balance + sum(credits for _, credits in self._unseen)
        account = {"email": "you@emulator.localhost", "credits": shown, "total_images": 0, "plan": "starter"}
        return json_reply(200, account)

    def _models(self) -> Reply:
        models = [{"id": name, "object": "model", "created": EPOCH, "owned_by": "emulator"} for name in MODELS]
        return json_reply(200, {"object": "list", "data": models})

    def _attempt(self, call: Call, since: float, outage: Outage | None) -> Reply:
        number = self._bill.next_attempt
        sha256 = hashlib.sha256(call.body).hexdigest()[:16]
        turn = self._take_turn(call, since, outage, number)
        answered = turn.reply.end in ("whole", "cut") or turn.reply.stop_at is not None
        status = turn.reply.status if answered else None
        at_s = round(since, 6)
        self._bill.add(
            Billed(number, turn.model, turn.credits, status, turn.fault, sha256, turn.id, at_s, call.in_flight)
        )
        if turn.credits and self.faults.late_charge_s:
            self._unseen.append((since + self.faults.late_charge_s, turn.credits))
        return _labelled(turn.reply, f"req_{number:08d}{sha256}")

    def _take_turn(self, call: Call, since: float, outage: Outage | None, number: int) -> _Turn:
        """The gate's checks in the order of a real endpoint: up, key, rate, question, balance; then the model."""
        if outage:
            return _Turn(self._outage_reply(outage), fault="outage")
        refused = self._unauthorized(call)
        if refused:
            return _Turn(refused)
        wait_s = self._wait(since)
        if wait_s:
            reply = error_reply(429, "Rate limit reached for requests.", "rate_limit_exceeded")
            return _Turn(replace(reply, headers=reply.headers + retry_after(wait_s)), fault="rate_limit")
        try:
            question = read_question(call.body)
        except Rejected as rejected:
            return _Turn(rejected.reply, rejected.model)
        price = self._prices[question.model]
        if price > self.balance:
            broke = "You exceeded your current quota: the account has too few credits."
            return _Turn(error_reply(402, broke, "insufficient_quota"), question.model)
        return self._serve(question, price, self.faults.draw(number), _Place(number, since))

    def _serve(self, question: Question, price: int, draw: Draw, place: _Place) -> _Turn:
        delay_s = self.latency_s + draw.latency_s
        if draw.status is not None:
            reply = replace(self._failure(draw.status, "The emulator was told to fail."), delay_s=delay_s)
            return _Turn(reply, question.model, price if self.faults.bills_errors else 0, draw.kind)
        said = self._mind.say(question, place.number)
        answer = _write(said, question, place)
        whole = stream_reply(answer, with_usage=question.with_usage) if question.stream else completion_reply(answer)
        reply = replace(damage(whole, draw, self.faults), delay_s=delay_s)
        if draw.kind in (None, "slow_body"):
            charged = True
        else:
            charged = self.faults.bills_cut if draw.kind in LOST else self.faults.bills_errors
        faults = "+".join((*filter(None, [draw.kind]), *said.faults)) or None
        return _Turn(reply, question.model, price if charged else 0, faults, answer.id)

    def _unauthorized(self, call: Call) -> Reply | None:
        scheme, _, token = call.headers.get("authorization", "").strip().rpartition(" ")
        good = scheme.lower() in ("", "bearer") and token.lower() not in ("", "bearer")
        if good and (self.key is None or hmac.compare_digest(token.encode(), self.key.encode())):
            return None
        said = "Incorrect API key provided." if token else "You didn't provide an API key."
        return error_reply(401, said, "invalid_api_key")

    def _wait(self, since: float) -> float:
        """Seconds until the rate limit would admit a request; 0 admits this one."""
        most = self.faults.requests_per_minute
        if most is None:
            return 0.0
        while self._admitted and self._admitted[0] <= since - 60:
            self._admitted.popleft()
        if len(self._admitted) >= most:
            return self._admitted[0] + 60 - since
        self._admitted.append(since)
        return 0.0

    def _outage_reply(self, outage: Outage) -> Reply:
        if isinstance(outage.how, int):
            return self._failure(outage.how, "The service is temporarily unavailable.")
        return Reply(0, (), (), end="reset")

    def _failure(self, status: int, message: str) -> Reply:
        reply = error_reply(status, message, {429: "rate_limit_exceeded", 408: "timeout"}.get(status))
        if status in (429, 503) and self.faults.retry_after_s is not None:
            return replace(reply, headers=reply.headers + retry_after(self.faults.retry_after_s))
        return reply


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an attempt stands: its number and the seconds since the start."""

    number: int
    since_s: float


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine: what a page that rebinds its name cannot claim."""
    return _LOOPBACK.fullmatch(host) is not None


def misdirected() -> Reply:
    """The reply to a request for another host."""
    return _labelled(error_reply(421, "The emulator serves loopback names only.", "misdirected_request"), "req_host")


def too_large() -> Reply:
    """The reply to a body that nobody wants to read."""
    return _labelled(error_reply(413, "The request is too large.", "request_too_large"), "req_size")


def _write(said: Said, question: Question, place: _Place) -> Answer:
    """What was said, as a completion: cut to the tokens asked for, counted, named."""
    text, cut = said.text, False
    if question.max_tokens is not None:
        text, cut = cut_tokens(text, question.max_tokens)
    asked = sum(count_tokens(told) + 4 for told in question.texts) + 3  # OpenAI's own overhead per message
    spoken = count_tokens(text)
    unique = hashlib.sha256(question.digest(question.texts[-1]) + str(place.number).encode()).hexdigest()[:29]
    return Answer(
        id=f"chatcmpl-{unique}",
        created=EPOCH + int(place.since_s),
        model=UPSTREAM[question.model].id,
        text=text,
        finish_reason="length" if cut else "stop",
        refused=said.refused,
        usage={"prompt_tokens": asked, "completion_tokens": spoken, "total_tokens": asked + spoken},
    )


def _openapi() -> Reply:
    return json_reply(200, openapi(PREFIX))


def _labelled(reply: Reply, request_id: str) -> Reply:
    labels = (("x-journeybatch-emulator", "1"), ("x-request-id", request_id))
    return replace(reply, headers=reply.headers + labels)
