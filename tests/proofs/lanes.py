"""Connections: after anything odd on one, no row may get another row's answer.

A raw server answers each request with its own number, and in between does what servers do: says more than it was
asked, answers twice, closes in the middle, says two lengths. Whatever comes back as an answer has to be one's own.
(A second answer that comes when the next request is already on its way looks like that one's, to any HTTP client.)
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx
from adversary import Peer, adversary, reply

from journeybatch.transport import LaneTransport
from proofs.checker import Broken

ODDITIES = ("fine", "fine", "twice", "cut", "two lengths", "stray bytes", "early close", "100 first", "late")
DEADLINE_S = 0.04


async def _serve(peer: Peer, rng: random.Random) -> None:
    while (got := await peer.request()) is not None:
        body = got[1]
        how = rng.choice(ODDITIES)
        whole = reply(body)
        if how == "twice":
            await peer.say(whole + reply(b"somebody else's"))
        elif how == "cut":
            await peer.say(whole[: rng.randint(1, len(whole) - 1)])
            return
        elif how == "two lengths":
            await peer.say(reply(body, b"Content-Length: 1"))
        elif how == "stray bytes":
            await peer.say(whole + b"HTTP/1.1 200 OK\r\nContent-")
        elif how == "early close":
            await peer.say(whole)
            return
        elif how == "late":
            await asyncio.sleep(1.5 * DEADLINE_S)
            await peer.say(whole)
        elif how == "100 first":
            await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n" + whole)
        else:
            await peer.say(whole)


async def _ask(requests: int, seed: int) -> int:
    rng, own = random.Random(seed), 0
    async with adversary(lambda peer: _serve(peer, rng)) as server, LaneTransport() as transport:

        async def lane(numbers: Any) -> None:
            nonlocal own
            for number in numbers:
                asked = b"%d" % number
                request = httpx.Request("POST", server.url, content=asked, extensions={"deadline_s": DEADLINE_S})
                try:
                    response = await transport.handle_async_request(request)
                except httpx.TransportError:
                    continue
                if response.status_code != 200 or (said := await response.aread()) != asked:
                    raise Broken(f"seed {seed}: {asked!r} was answered with {said!r}")
                own += 1

        numbers = iter(range(requests))
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(lane(numbers))
    return own


def prove(requests: int, seed: int) -> tuple[int, str]:
    """Ask so many requests of a server that errs. Returns their number and a sentence. Raises Broken."""
    try:
        own = asyncio.run(_ask(requests, seed))
    except BaseExceptionGroup as group:
        raise next(error for error in group.exceptions if isinstance(error, Broken)) from None
    return requests, f"{own} of {requests} answered, each with its own answer; the others ended in an error"
