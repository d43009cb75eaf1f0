"""The emulator as a real server on loopback: an ASGI app under uvicorn, or the raw server where faults need bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn
from anyio.from_thread import start_blocking_portal
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from journeybatch.emulator.behaviour import MAX_BODY, PREFIX, Emulator, is_loopback, misdirected, too_large
from journeybatch.emulator.raw import BACKLOG, IDLE_S, RawServer, bind
from journeybatch.emulator.shapes import Call, Reply


def serve(emulator: Emulator, *, port: int = 0, until_stdin_closes: bool = False) -> None:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM or, on demand, until stdin closes. Port 0 is a free one.

    Prints one line of JSON on stdout when ready: ``{"base_url": "http://127.0.0.1:PORT/api/v1"}``. OSError when
    the port is taken.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve_until_told(emulator, port, until_stdin_closes))


async def _serve_until_told(emulator: Emulator, port: int, until_stdin_closes: bool) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told.set)
    async with open_server(emulator, port) as base_url:
        if until_stdin_closes:
            threading.Thread(target=_watch_stdin, args=(loop, told), daemon=True).start()
        sys.stdout.write(json.dumps({"base_url": base_url}) + "\n")
        sys.stdout.flush()
        await told.wait()


def _watch_stdin(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    with contextlib.suppress(OSError):  # closed from the start
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended for another reason
        loop.call_soon_threadsafe(told.set)


@contextlib.asynccontextmanager
async def open_server(emulator: Emulator, port: int = 0) -> AsyncIterator[str]:
    """Serve in the running asyncio loop for as long as the context lasts; gives the base URL."""
    if emulator.faults.needs_bytes:
        async with RawServer(emulator, port) as raw:
            yield f"http://127.0.0.1:{raw.port}{PREFIX}"
    else:
        async with _open_uvicorn(emulator, port) as found:
            yield f"http://127.0.0.1:{found}{PREFIX}"


@contextlib.contextmanager
def serving(emulator: Emulator, port: int = 0) -> Iterator[str]:
    """Serve in a thread of this process for as long as the context lasts; gives the base URL. OSError when the port is
    taken."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(open_server(emulator, port)) as base_url,
    ):
        yield base_url


@contextlib.asynccontextmanager
async def _open_uvicorn(emulator: Emulator, port: int) -> AsyncIterator[int]:
    listener = bind(port)
    config = uvicorn.Config(
        build_app(emulator),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    emulator.start(asyncio.get_running_loop().time())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event to wait for
            await asyncio.sleep(0.002)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """uvicorn without its hands on the process's signals."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def build_app(emulator: Emulator) -> ASGIApp:
    """The ASGI app. ValueError if the emulator's faults need a server that owns its sockets."""
    if emulator.faults.needs_bytes:
        raise ValueError("resets, cuts, hangs and refused connections need the raw server")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        with contextlib.suppress(ClientDisconnect):
            reply = await _answer(emulator, request)
            if reply.delay_s:
                await asyncio.sleep(reply.delay_s)
            await _respond(reply)(scope, receive, send)

    return app


async def _answer(emulator: Emulator, request: Request) -> Reply:
    if not is_loopback(request.headers.get("host", "")):
        return misdirected()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return too_large()
    query = request.scope["query_string"].decode("latin-1")
    target = request.scope["path"] + (f"?{query}" if query else "")
    call = Call(request.method, target, dict(request.headers), bytes(body))
    return emulator.answer(call, asyncio.get_running_loop().time())


def _respond(reply: Reply) -> Response:
    headers = dict(reply.headers)
    if not reply.streamed and not reply.pause_s:
        return Response(reply.body, reply.status, headers)
    if not reply.streamed:
        headers["content-length"] = str(len(reply.body))
    return StreamingResponse(_drip(reply), reply.status, headers)


async def _drip(reply: Reply) -> AsyncIterator[bytes]:
    for number, chunk in enumerate(reply.chunks):
        if number and reply.pause_s:
            await asyncio.sleep(reply.pause_s)
        yield chunk


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # an interpreter or a platform without it
        return None
    return uvloop.Loop
