"""The emulator in this process: an httpx transport without a socket, under any clock anyio knows."""

from __future__ import annotations

import anyio
import httpx

from journeybatch.emulator.behaviour import Emulator
from journeybatch.emulator.shapes import Call, Reply


class EmulatorTransport(httpx.AsyncBaseTransport):
    """Performs the emulator's plans. Responses come fully read, streams too.

    ``request.extensions["deadline_s"]``, where given, bounds the exchange in seconds. Raises what a network would:
    httpx.ConnectError, ReadError (reset), RemoteProtocolError (cut, or closed without an answer), ReadTimeout.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange."""
        body = await request.aread()
        now = anyio.current_time()
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.url.raw_path.decode("ascii"), headers, body)
        reply = self.emulator.answer(call, now)
        if reply.end == "refuse":
            raise httpx.ConnectError("Connection refused by the emulator", request=request)
        await _wait(_duration_s(reply), request.extensions.get("deadline_s"), request)
        if reply.end == "hang":
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        if reply.end == "reset":
            raise httpx.ReadError("Connection reset by the emulator", request=request)
        if reply.end == "cut":
            message = f"peer closed connection without sending complete message body (after {reply.stop_at} bytes)"
            raise httpx.RemoteProtocolError(message, request=request)
        return httpx.Response(reply.status, headers=list(reply.headers), content=reply.body, request=request)


def _duration_s(reply: Reply) -> float | None:
    """How long the exchange takes; None for ever."""
    if reply.end == "hang":
        return None if reply.hang_s is None else reply.delay_s + reply.hang_s
    return reply.delay_s + reply.pause_s * max(0, len(reply.chunks) - 1)


async def _wait(duration_s: float | None, deadline_s: float | None, request: httpx.Request) -> None:
    if deadline_s is not None and (duration_s is None or duration_s > deadline_s):
        await anyio.sleep(deadline_s)
        raise httpx.ReadTimeout(f"No whole answer within {deadline_s:g} s", request=request)
    if duration_s is None:
        await anyio.sleep_forever()
    else:
        await anyio.sleep(duration_s)
