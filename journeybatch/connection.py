"""Whom a run talks to, and from where: over lanes of its own, over a transport handed in, to an emulator of its own, by
workers on Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from journeybatch.client import Client, Endpoint
from journeybatch.errors import JobError, Outage
from journeybatch.job import World
from journeybatch.preparation import Options, Prepared
from journeybatch.proxy import proxied
from journeybatch.records import Completion, Request

if TYPE_CHECKING:
    from journeybatch.fleet import Fleet

IN_PROCESS = "http://127.0.0.1/api/v1"
"""Where an emulator listens that is handed in as a transport."""


@asynccontextmanager
async def connected(
    endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None, timeout_s: float, proxy: str | None
) -> AsyncIterator[Client]:
    """A client over ``transport``, or over lanes of our own (through ``proxy``, over httpx's)."""
    from journeybatch.transport import LaneTransport

    if transport is None:
        transport = LaneTransport() if proxy is None else httpx.AsyncHTTPTransport(proxy=proxy, trust_env=False)
    async with AsyncExitStack() as stack:
        client = Client(transport, endpoint, timeout_s=timeout_s)
        stack.push_async_callback(client.aclose)
        yield client


class FarClient(Client):
    """A client that asks for the account from here, while a ``fleet`` of workers sends the requests."""

    def __init__(self, near: Client, fleet: Fleet) -> None:
        super().__init__(near._transport, near.endpoint)
        self.fleet = fleet

    async def send(self, request: Request) -> Completion:
        """One attempt, made by a worker. Raises ApiFailure, DiskFull."""
        return await self.fleet.send(request)


def workers_of(client: Client) -> list[dict[str, Any]]:
    """What each worker did, for the summary; nothing where requests leave from here."""
    return client.fleet.rows() if isinstance(client, FarClient) else []


@asynccontextmanager
async def client_of(ready: Prepared, world: World, options: Options) -> AsyncIterator[Client]:
    """What a run sends with.

    Raises:
        Outage: the emulator does not start.
        JobError: there are no workers to be had.
    In both cases nothing was sent.
    """
    spec, endpoint = ready.job.spec, ready.endpoint
    async with AsyncExitStack() as stack:
        if endpoint.emulated:
            base_url = IN_PROCESS if options.transport else await stack.enter_async_context(_emulator(spec.output))
            endpoint = msgspec.structs.replace(endpoint, base_url=base_url)
        proxy = proxied(httpx.URL(endpoint.base_url), world.environ) if options.transport is None else None
        client = await stack.enter_async_context(connected(endpoint, options.transport, spec.retry.timeout_s, proxy))
        if spec.engine.kind == "ray":
            fleet = await stack.enter_async_context(_fleet(ready, endpoint, world, options))
            client = FarClient(client, fleet)
        yield client


@asynccontextmanager
async def _fleet(ready: Prepared, endpoint: Endpoint, world: World, options: Options) -> AsyncIterator[Fleet]:
    from journeybatch.distributed import errand_of_run, fleet_on_ray

    if options.transport is not None:
        raise JobError("engine: ray: a transport of this process cannot be handed to workers elsewhere")
    spec, say = ready.job.spec, options.screen.line
    errand = errand_of_run(endpoint, spec.api, spec.retry.timeout_s)
    async with fleet_on_ray(spec.engine, errand, endpoint.key, say, world.environ) as fleet:
        yield fleet


@asynccontextmanager
async def _emulator(output: Path) -> AsyncIterator[str]:
    """The base URL of an emulator of the run's own. Raises Outage if it does not start."""
    from journeybatch.emulator.child import emulator_child

    async with AsyncExitStack() as stack:
        try:
            base_url = await stack.enter_async_context(emulator_child(output / "emulator-bill.jsonl"))
        except (TimeoutError, ValueError, OSError) as error:
            raise Outage(f"the emulator does not start: {error}") from None
        yield base_url
