"""models, account and chat: what talks to the endpoint without a job."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import httpx
import msgspec

from journeybatch import catalog, excerpt, payload, wire
from journeybatch.cli import screen
from journeybatch.cli.environment import price_book, read_world
from journeybatch.client import Client, Endpoint
from journeybatch.connection import connected
from journeybatch.endpoint import choose_endpoint, provider_of
from journeybatch.errors import STOPS, ApiFailure, JobError, MissingKey, Outage, RunStopped, SpecError, Unanswered
from journeybatch.job import World
from journeybatch.pricebook import choose_price, measured_prices, remember
from journeybatch.proxy import proxied
from journeybatch.records import Completion, Message
from journeybatch.sections import Api

if TYPE_CHECKING:
    from journeybatch.measuring import Measured

TIMEOUT_S = 60.0
_EMULATOR = Endpoint("http://127.0.0.1/api/v1", key="emulator", emulated=True)


def _reaching(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say who answers and with which key: ``command`` gets them as one ``Api``."""

    @functools.wraps(command)
    def told(api: str | None, auth: str | None, key_env: str | None, **rest: Any) -> None:
        command(api=_reached(api, auth, key_env), **rest)

    for option in (
        click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Let a key go to HOST."),
        click.option("--key-env", metavar="NAME", help="The variable that holds the key, if not JOURNEYAPI_KEY."),
        click.option("--auth", type=click.Choice(["raw", "bearer", "none"]), help="How the key is sent, if at all."),
        click.option("--api", metavar="NAME-OR-URL", help="emulator, or a base URL instead of JourneyAPI's."),
    ):
        option(told)
    return told


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--measure", metavar="MODEL", help="Learn MODEL's price from the account's balance; up to 20 credits.")
@_reaching
@click.option("--yes", is_flag=True, help="Answer yes to questions about cost.")
def models(as_json: bool, measure: str | None, api: Api, allow_hosts: tuple[str, ...], yes: bool) -> None:
    """The catalogue: credits per request, where each price is from, and what a model refuses."""
    world = read_world(allow_hosts)
    measured = measured_prices(price_book(world.environ), provider_of(api, world.environ))
    if measure is not None:
        _measure(measure, api, world, yes=yes, as_json=as_json)
        return
    known = world.config.credits
    names = dict.fromkeys((*catalog.MODELS, *known, *measured))
    rows = []
    for name in names:
        price = choose_price(name, {}, known, measured)
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


def _measure(model: str, api: Api, world: World, *, yes: bool, as_json: bool) -> None:
    """Learn a price, say it, and put it into the price book. Exits with 1 where it could not be learned."""
    import anyio

    from journeybatch.measuring import MOST_CREDITS, measure

    endpoint = _EMULATOR if api.kind == "emulator" else _endpoint(api, world)
    if not (endpoint.emulated or yes):
        _agree(f"Measuring {screen.safe(model)} at {endpoint.provider} costs up to {MOST_CREDITS} credits.")

    async def learn() -> Measured:
        async with _connected(endpoint, world) as client:
            return await measure(client, model)

    try:
        measured = anyio.run(learn)
    except ApiFailure as failure:
        raise _stopped(failure) from None
    kept = _remember(measured, world) if measured.credits is not None else None
    if as_json:
        screen.out_json({**msgspec.structs.asdict(measured), "remembered": kept and str(kept)})
    else:
        (screen.out if measured.credits is not None else screen.stderr().line)(screen.safe(measured.message))
        if kept is not None:
            screen.out(f"remembered in {kept}")
    if measured.credits is None:
        raise click.exceptions.Exit(1)


def _agree(question: str) -> None:
    """Raises Unanswered unless somebody says yes."""
    if not screen.can_ask():
        raise Unanswered(f"{question} Nobody is there to agree: say --yes; nothing was sent")
    if not screen.confirm(f"{question} Go on?"):
        raise Unanswered("nothing was sent")


def _remember(measured: Measured, world: World) -> Path | None:
    """Where the price was written down. What was paid for is never lost to a file that cannot be written."""
    by_hand = f"give it by hand with `credits: {{{screen.safe(measured.model)}: {measured.credits}}}`"
    book, say = price_book(world.environ), screen.stderr().line
    if book is None:
        say(f"there is no config directory to remember the price in; {by_hand}")
        return None
    try:
        remember(book, measured.provider, measured.model, measured.measurement())
    except JobError as error:
        say(f"{error}; {by_hand}")
        return None
    if world.config.credits.get(measured.model, measured.credits) != measured.credits:
        say(f"your config's credits give another price for {screen.safe(measured.model)}, and come first")
    return book


def _reached(api: str | None, auth: str | None = None, key_env: str | None = None) -> Api:
    """What ``--api``, ``--auth`` and ``--key-env`` name. Raises SpecError."""
    told = {"base_url": api} if api and "://" in api else {"kind": api or "journeyapi"}
    try:
        Api.model_validate(told)
    except ValueError:
        raise SpecError(
            f"--api {screen.safe(api)}: expected journeyapi, emulator, or a base URL such as https://host/api/v1"
        ) from None
    try:
        return Api.model_validate(told | {"auth": auth, "key_env": key_env})
    except ValueError:
        raise SpecError(f"--key-env {screen.safe(key_env)}: expected the name of an environment variable") from None


def endpoint_at(api: str | None, world: World) -> Endpoint:
    """The endpoint that ``--api`` names, with its key. Raises MissingKey, SpecError."""
    return _EMULATOR if api == "emulator" else _endpoint(_reached(api), world)


def _endpoint(api: Api, world: World) -> Endpoint:
    if api.kind == "emulator":
        raise MissingKey("the emulator has no standing account; start `journeybatch emulate` and give its URL as --api")
    return choose_endpoint(api, world.environ, {*world.allow_hosts, *world.config.allow_hosts})


def _connected(endpoint: Endpoint, world: World) -> AbstractAsyncContextManager[Client]:
    """A client for ``endpoint``; the emulator answers in this process."""
    if endpoint.emulated:
        from journeybatch.emulator import Emulator

        return connected(endpoint, Emulator().transport(), TIMEOUT_S, None)
    return connected(endpoint, None, TIMEOUT_S, proxied(httpx.URL(endpoint.base_url), world.environ))


async def fetch_account(endpoint: Endpoint, world: World) -> dict[str, Any] | None:
    """The account behind ``endpoint``. Raises ApiFailure."""
    async with _connected(endpoint, world) as client:
        return await client.account()


async def no_json(endpoint: Endpoint, world: World, patience_s: float) -> str | None:
    """What a GET of the models brought, in one line, where that is no JSON: then the server speaks HTTP, and perhaps
    not this API. It is asked without a key; None where it gives no answer at all."""
    proxy = proxied(httpx.URL(endpoint.base_url), world.environ)
    try:
        async with httpx.AsyncClient(proxy=proxy, trust_env=False, timeout=patience_s) as client:
            reply = await client.get(f"{endpoint.base_url}/models")
    except httpx.HTTPError:
        return None
    try:
        reply.json()
    except (ValueError, RecursionError):
        return f"HTTP {reply.status_code}: {excerpt.excerpt(reply.content)}"
    return None


def _stopped(failure: ApiFailure) -> RunStopped:
    reason = "endpoint" if failure.foreign else failure.stopped_by or ""
    return STOPS.get(reason, Outage)(str(failure))


@click.command()
@_reaching
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def account(api: Api, allow_hosts: tuple[str, ...], as_json: bool) -> None:
    """The account's balance (free)."""
    import anyio

    world = read_world(allow_hosts)
    try:
        data = anyio.run(fetch_account, _endpoint(api, world), world)
    except ApiFailure as failure:
        raise _stopped(failure) from None
    if as_json:
        screen.out_json({"credits": None} if data is None else data)
    elif data is None:
        screen.out("balance: unknown (this endpoint has no /account)")
    else:
        _tell_account(data)


def _tell_account(data: dict[str, Any]) -> None:
    """One line for each thing that the endpoint tells, the values below each other."""
    names = {name: screen.safe(name) + ":" for name in data}
    width = min(max(map(len, names.values()), default=0), 30)
    for name, value in data.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        screen.out(f"{names[name]:<{width}}  {screen.safe(text)}".rstrip())


@click.command()
@click.argument("prompt")
@click.option("-m", "--model", default="deepseek-chat", show_default=True, help="The model that answers.")
@click.option("-s", "--system", help="A system message.")
@click.option("--no-stream", is_flag=True, help="Print the reply when it is whole.")
@_reaching
def chat(prompt: str, model: str, system: str | None, no_stream: bool, api: Api, allow_hosts: tuple[str, ...]) -> None:
    """Send one PROMPT, and print the reply as it arrives. Costs one request."""
    import anyio

    world = read_world(allow_hosts)
    catalog.check_parameters(model, {})
    said = [Message("system", system)] if system else []
    body = payload.encoder(model, {}, not no_stream)([*said, Message("user", prompt)])
    try:
        if api.kind == "emulator":
            anyio.run(_chat_emulated, body, world)
        else:
            anyio.run(_chat, _endpoint(api, world), world, body)
    except ApiFailure as failure:
        raise _stopped(failure) from None


async def _chat_emulated(body: bytes, world: World) -> None:
    async with _connected(_EMULATOR, world) as client:
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
