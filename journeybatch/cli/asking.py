"""models, account and chat: what talks to the endpoint without a job."""

from __future__ import annotations

import sys
from typing import Any

import click
import httpx

from journeybatch import catalog, wire
from journeybatch.cli import screen
from journeybatch.cli.environment import read_world
from journeybatch.client import Client, Endpoint
from journeybatch.dispatch import connected
from journeybatch.endpoint import choose_endpoint
from journeybatch.errors import STOPS, ApiFailure, JobError, MissingKey, Outage, RunStopped
from journeybatch.job import World
from journeybatch.records import Completion, Message
from journeybatch.sections import Api
from journeybatch.transport import proxied

TIMEOUT_S = 60.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--measure", metavar="MODEL", help="Learn a price from the account's balance (not built yet).")
def models(as_json: bool, measure: str | None) -> None:
    """The catalogue: credits per request, where each price is from, and what a model refuses."""
    if measure is not None:
        raise JobError("--measure: not yet; give the price with `credits: {MODEL: N}` in the job or the user config")
    known = read_world().config.credits
    names = [*catalog.MODELS, *(name for name in known if name not in catalog.MODELS)]
    rows = []
    for name in names:
        price = catalog.price(name, {}, known)
        refuses = sorted(catalog.MODELS[name].refuses) if name in catalog.MODELS else []
        rows.append((name, price, refuses))
    if as_json:
        screen.out_json(
            [
                {"model": n, "credits_min": p.least, "credits_max": p.most, "source": p.source, "refuses": r}
                for n, p, r in rows
            ]
        )
        return
    screen.out_table(
        ("model", "credits", "refuses", "price from"),
        ((n, p.least if p.least == p.most else f"{p.least}-{p.most}", ", ".join(r), p.source) for n, p, r in rows),
    )


def _endpoint(api: str | None, allow_hosts: tuple[str, ...], world: World) -> Endpoint:
    if api == "emulator":
        raise MissingKey("the emulator has no standing account; start `journeybatch emulate` and give its URL as --api")
    chosen = Api.model_validate({"base_url": api} if api and "://" in api else {"kind": api or "journeyapi"})
    return choose_endpoint(chosen, world.environ, {*allow_hosts, *world.config.allow_hosts})


async def fetch_account(endpoint: Endpoint, world: World) -> dict[str, Any] | None:
    """The account behind ``endpoint``. Raises ApiFailure."""
    proxy = proxied(httpx.URL(endpoint.base_url), world.environ)
    async with connected(endpoint, None, TIMEOUT_S, proxy) as client:
        return await client.account()


def _stopped(failure: ApiFailure) -> RunStopped:
    return STOPS.get(failure.stopped_by or "", Outage)(str(failure))


@click.command()
@click.option("--api", help="A base URL instead of JourneyAPI's.")
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Let a key go to HOST.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def account(api: str | None, allow_hosts: tuple[str, ...], as_json: bool) -> None:
    """The account's balance (free)."""
    import anyio

    world = read_world(allow_hosts)
    try:
        data = anyio.run(fetch_account, _endpoint(api, allow_hosts, world), world)
    except ApiFailure as failure:
        raise _stopped(failure) from None
    if data is None:
        raise JobError("this endpoint does not tell the account's balance")
    if as_json:
        screen.out_json(data)
        return
    for name, value in data.items():
        screen.out(f"{screen.safe(name) + ':':<14}{screen.safe(value)}")


@click.command()
@click.argument("prompt")
@click.option("-m", "--model", default="deepseek-chat", show_default=True, help="The model that answers.")
@click.option("-s", "--system", help="A system message.")
@click.option("--no-stream", is_flag=True, help="Print the reply when it is whole.")
@click.option("--api", help="emulator, or a base URL instead of JourneyAPI's.")
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Let a key go to HOST.")
def chat(
    prompt: str, model: str, system: str | None, no_stream: bool, api: str | None, allow_hosts: tuple[str, ...]
) -> None:
    """Send one PROMPT, and print the reply as it arrives. Costs one request."""
    import anyio

    world = read_world(allow_hosts)
    catalog.check_parameters(model, {})
    said = [Message("system", system)] if system else []
    body = wire.encoder(model, {}, not no_stream)([*said, Message("user", prompt)])
    try:
        if api == "emulator":
            anyio.run(_chat_emulated, body)
        else:
            anyio.run(_chat, _endpoint(api, allow_hosts, world), world, body)
    except ApiFailure as failure:
        raise _stopped(failure) from None


async def _chat_emulated(body: bytes) -> None:
    from journeybatch.emulator import Emulator

    endpoint = Endpoint("http://127.0.0.1/api/v1", key="emulator", emulated=True)
    async with connected(endpoint, Emulator().transport(), TIMEOUT_S, None) as client:
        await _print_reply(client, body)


async def _chat(endpoint: Endpoint, world: World, body: bytes) -> None:
    proxy = proxied(httpx.URL(endpoint.base_url), world.environ)
    # httpx's own transport: it hands on a reply as it arrives, which lanes do not
    transport = httpx.AsyncHTTPTransport(proxy=proxy, trust_env=False)
    async with connected(endpoint, transport, TIMEOUT_S, None) as client:
        await _print_reply(client, body)


async def _print_reply(client: Client, body: bytes) -> None:
    """Print what arrives; then judge the whole, so that a stream that broke off is no answer."""
    whole = bytearray()
    pending = b""
    shown = False
    async for chunk in client.stream(body):
        whole += chunk
        pending += chunk
        *lines, pending = pending.split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and line.strip() != b"data: [DONE]":
                shown = _print(wire.delta(line[5:].decode("utf-8", "replace").strip())) or shown
    reply = wire.judge(Completion(200, {}, bytes(whole), 0.0))
    if not shown:
        _print(reply.text or reply.refusal or "")
    _print("\n")


def _print(text: str) -> bool:
    """Model text on the terminal, without control sequences but for line breaks."""
    shown = "".join(c for c in text if c in "\n\t" or c.isprintable())
    sys.stdout.write(shown)
    sys.stdout.flush()
    return bool(shown)
