"""One attempt over HTTP: the innermost Send; and the account.

This is the one border where an HTTP library's exceptions become ours, and the last place that knows the key: it is
blotted out of everything that comes back, before anybody stores or prints it.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import msgspec

from journeybatch.account import read_account
from journeybatch.errors import ApiFailure, DiskFull
from journeybatch.excerpt import clean
from journeybatch.records import Completion, Request
from journeybatch.wire import judge, kept_name, lost

if TYPE_CHECKING:
    from journeybatch.transport import Target

JOURNEYAPI = "https://journeyapi.co/api/v1"
BODY_CAP = 16 * 2**20
_BLOT = b"***"
_SHORTEST_SECRET = 8
_FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)
"""What a transport raises; ``TimeoutError`` is an OSError."""

_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.LocalProtocolError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.WriteError,
    httpx.WriteTimeout,
)
"""Exceptions that prove that the whole request cannot have arrived. All others leave a doubt."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where requests go, and with which key. ``auth`` is `raw` (JourneyAPI's page), `bearer` (OpenAI's) or `none`."""

    base_url: str
    key: str = ""
    auth: str = "raw"
    emulated: bool = False

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, auth={self.auth!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """msgspec's own would show the key in rich's tracebacks."""
        return [("base_url", self.base_url), ("auth", self.auth)]

    @property
    def provider(self) -> str:
        """Who answers, as far as reuse goes: ``emulator``, or host and port."""
        if self.emulated:
            return "emulator"
        url = httpx.URL(self.base_url)
        return f"{url.host}:{url.port or {'http': 80, 'https': 443}.get(url.scheme, 0)}"

    @property
    def authorization(self) -> str | None:
        """The header's value."""
        if not self.key or self.auth == "none":
            return None
        return f"Bearer {self.key}" if self.auth == "bearer" else self.key


class Client:
    """Sends requests to one endpoint, each within ``timeout_s`` seconds from first connect to last byte.

    Our lanes keep that deadline themselves, since only they know whether the request had left by then, and bring
    whole replies. For any other transport it is kept here, half a second later, and the body is capped here.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, endpoint: Endpoint, *, timeout_s: float = 600.0) -> None:
        from journeybatch.transport import LaneTransport

        self.endpoint = endpoint
        self._transport = transport
        self._lanes = transport if isinstance(transport, LaneTransport) else None
        self._timeout_s, self._patience_s = timeout_s, timeout_s + 0.5
        self._base = endpoint.base_url.rstrip("/")
        self._chat = httpx.URL(f"{self._base}/chat/completions")
        self._extensions = {
            "deadline_s": timeout_s,
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout_s),
        }
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", "User-Agent": "journeybatch"}
        if endpoint.authorization is not None:
            headers["Authorization"] = endpoint.authorization
        self._headers = httpx.Headers(headers)
        self._blot = _blotter("" if endpoint.emulated else endpoint.key)

    async def send(self, request: Request) -> Completion:
        """One attempt.

        Raises:
            ApiFailure: no reply came; it says whether the request may have arrived.
            DiskFull: the process is out of file descriptors.
        """
        if self._lanes is None:
            return await self._exchange("POST", self._chat, request.body)
        try:
            reply = await self._lanes.exchange(self._target, request.body, self._timeout_s)
        except _FOREIGN as error:
            raise translate(error, self._blot) from None
        return self._completion(reply.status, reply.headers, reply.body, reply.latency_s)

    @cached_property
    def _target(self) -> Target:
        from journeybatch.transport import Target

        return Target.of(httpx.Request("POST", self._chat, headers=self._headers))

    async def stream(self, body: bytes) -> AsyncIterator[bytes]:
        """The lines of one reply as they arrive, key blotted out: it never spans two (for ``chat``).

        Raises:
            ApiFailure: the request was refused, or the connection broke off.
            DiskFull: the process is out of file descriptors.
        """
        until = None if self._lanes else anyio.current_time() + self._patience_s
        try:
            response = await self._open("POST", self._chat, body, until)
            try:
                if response.status_code >= 300:
                    judge(
                        self._completion(response.status_code, response.headers.raw, await _body(response, until), 0.0)
                    )
                rest = b""
                async with aclosing(_chunks(response, until)) as chunks:
                    async for chunk in chunks:
                        whole, end, rest = (rest + chunk).rpartition(b"\n")
                        if end:
                            yield self._blot(whole + end)
                if rest:
                    yield self._blot(rest)
            finally:
                await response.aclose()
        except _FOREIGN as error:
            raise translate(error, self._blot) from None

    async def account(self) -> dict[str, Any] | None:
        """The account as the endpoint tells it (``email``, ``credits``, ``plan``…), or None where it has none.

        Raises:
            ApiFailure: it cannot be reached, refuses the key, or answers with something else.
        """
        return read_account(await self._exchange("GET", httpx.URL(f"{self._base}/account"), b""))

    async def balance(self) -> int | float | None:
        """The account's credits, or None where the endpoint does not say. Raises ApiFailure (see ``account``)."""
        try:
            credits = (await self.account() or {}).get("credits")
        except ApiFailure as failure:
            if failure.kind != "malformed":
                raise
            return None
        if isinstance(credits, bool) or not isinstance(credits, int | float) or not math.isfinite(credits):
            return None
        return int(credits) if credits == int(credits) else credits

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def _exchange(self, method: str, url: httpx.URL, body: bytes) -> Completion:
        began = anyio.current_time()
        until = None if self._lanes else began + self._patience_s
        try:
            response = await self._open(method, url, body, until)
            try:
                content = await _body(response, until)
            finally:
                await response.aclose()
        except _FOREIGN as error:
            raise translate(error, self._blot) from None
        latency_s = response.extensions.get("latency_s", anyio.current_time() - began)
        return self._completion(response.status_code, response.headers.raw, content, latency_s)

    async def _open(self, method: str, url: httpx.URL, body: bytes, until: float | None) -> httpx.Response:
        request = httpx.Request(method, url, headers=self._headers, content=body, extensions=self._extensions)
        with _by(until):
            return await self._transport.handle_async_request(request)

    def _completion(
        self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, latency_s: float
    ) -> Completion:
        """The headers worth storing, and the body."""
        kept = {name: self._blot(value).decode("latin-1") for spelled, value in headers if (name := kept_name(spelled))}
        completion = Completion(status, kept, self._blot(body), latency_s)
        return completion if body[:1] == b"{" or body.lstrip()[:1] == b"{" else self._rejoined(completion)

    def _blot_text(self, text: str) -> str:
        return self._blot(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def _rejoined(self, completion: Completion) -> Completion:
        """A streamed reply whose pieces spell the key only when they are joined is stored joined, and blotted."""
        try:
            reply = judge(completion)
        except ApiFailure:
            return completion
        said = {"content": reply.text, "refusal": reply.refusal}
        message = {name: text and self._blot_text(text) for name, text in said.items()}
        if message == said:
            return completion
        whole = {
            "id": reply.upstream_id,
            "model": reply.upstream_model,
            "choices": [{"message": message, "finish_reason": reply.finish_reason}],
            "usage": {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens},
        }
        return msgspec.structs.replace(completion, body=msgspec.json.encode(whole))


async def _body(response: httpx.Response, until: float | None) -> bytes:
    """The whole body; what is here already costs nothing."""
    try:
        return response.content
    except httpx.ResponseNotRead:
        return b"".join([chunk async for chunk in _chunks(response, until)])


async def _chunks(response: httpx.Response, until: float | None) -> AsyncGenerator[bytes, None]:
    """The body as it comes in, decoded, up to ``BODY_CAP`` bytes and until ``until``."""
    size, chunks = 0, response.aiter_bytes()
    while True:
        with _by(until):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        size += len(chunk)
        if size > BODY_CAP:
            raise httpx.RemoteProtocolError(f"the reply's body is over {BODY_CAP} bytes")
        yield chunk


def _by(until: float | None) -> AbstractContextManager[object]:
    """Raises TimeoutError when the body is not done by ``until``."""
    return nullcontext() if until is None else anyio.fail_after(until - anyio.current_time())


def translate(error: Exception, blot: Callable[[bytes], bytes] = bytes) -> ApiFailure | DiskFull:
    """What an HTTP library's exception means for the attempt; ``blot`` takes the key out of what it says."""
    if any(isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE) for cause in _causes(error)):
        return DiskFull("out of file descriptors; raise the limit (ulimit -n) or lower `concurrency`, run again")
    said = clean(blot(str(error).encode("utf-8", "replace")).decode()) or type(error).__name__
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return lost("timeout", f"no reply in time: {said}", sent=not isinstance(error, _UNSENT))
    if isinstance(error, _UNSENT):
        return lost("connection", f"not sent: {said}", sent=False)
    return lost("lost", f"the connection broke off: {said}", sent=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and what led to it; several addresses of a host make a group."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _causes(member)
        error = error.__cause__ or error.__context__


def _blotter(key: str) -> Callable[[bytes], bytes]:
    """A function that takes ``key`` out of bytes: plain, and in every way JSON may escape it. A key of less than
    eight characters is a placeholder for a server that wants none: blotting ``x`` out would ruin the reply."""
    if len(key) < _SHORTEST_SECRET:
        return bytes
    plain, escaped = key.encode(), msgspec.json.encode(key)[1:-1]
    spellings = dict.fromkeys((escaped, plain))  # in this order: the other way round would leave a backslash behind
    each = (rb"(?:\\?%b|\\u(?i:%04x))" % (re.escape(c.encode()), ord(c)) for c in key)
    hidden = re.compile(b"".join(each))

    def blot(data: bytes) -> bytes:
        if b"\\u00" in data or b"\\/" in data:
            return hidden.sub(_BLOT, data)
        for spelling in spellings:
            data = data.replace(spelling, _BLOT)
        return data

    return blot
