"""A run's connection: over lanes of our own, through a proxy, or to an emulator that is started for it; the balance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx

from journeybatch.client import Client, Endpoint
from journeybatch.errors import ApiFailure, Outage, RunStopped
from journeybatch.reconciliation import Credits

BALANCE_S = 10.0


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


@asynccontextmanager
async def emulator_for(output: Path) -> AsyncIterator[str]:
    """The base URL of an emulator of the run's own. Raises Outage if it does not start."""
    from journeybatch.emulator.child import emulator_child

    async with AsyncExitStack() as stack:
        try:
            base_url = await stack.enter_async_context(emulator_child(output / "emulator-bill.jsonl"))
        except (TimeoutError, ValueError, OSError) as error:
            raise Outage(f"the emulator does not start: {error}") from None
        yield base_url


async def balance_of(client: Client) -> Credits | None:
    """The account's balance, where it can be had quickly: it is worth knowing and never worth a stop."""
    with anyio.move_on_after(BALANCE_S):
        try:
            return await client.balance()
        except (ApiFailure, RunStopped):
            return None
    return None
