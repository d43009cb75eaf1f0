"""doctor: whether this machine, this account and this place on the disk are fit for a run, and what to do if not."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import anyio
import click
import msgspec

import journeybatch
from journeybatch import errors
from journeybatch.cli import screen
from journeybatch.cli.asking import endpoint_at, fetch_account, no_json
from journeybatch.cli.environment import load, read_world
from journeybatch.client import Endpoint
from journeybatch.errors import ApiFailure, JobError
from journeybatch.job import World, endpoint_of
from journeybatch.journal import NAME
from journeybatch.lock import locked
from journeybatch.spec import JobSpec

PATIENCE_S = 10.0
ROOM_NEEDED = 100 * 2**20
ROOM_WANTED = 2**30
FILES_BESIDES = 64
"""Descriptors a run needs besides one per request in flight, with some to spare."""
_EXTRA = re.compile(r"""^([\w.-]+).*;.*\bextra\s*==\s*['"](\w+)['"]""")
_ADVICE = {
    "auth": "make a new key at the endpoint's page, and export it",
    "credits": "buy credits, or try the job with --api emulator",
    "endpoint": "check the base URL: it ends before /chat/completions",
}

State = Literal["fine", "note", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """What one check found. A ``note`` stops no run; what is ``wrong`` does. ``advice`` says what to do."""

    check: str
    state: State
    found: str
    advice: str | None = None


@click.command()
@click.argument("job", required=False, type=click.Path())
@click.option("--api", help="emulator, or a base URL instead of JourneyAPI's.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Where results are to go.")
@click.option("--online", is_flag=True, help="Also ask the endpoint for the balance (free); else no socket is opened.")
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Let a key go to HOST.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(
    job: str | None, api: str | None, output: Path | None, online: bool, allow_hosts: tuple[str, ...], as_json: bool
) -> None:
    """Check that a run can work here: of JOB, or in general. Sends nothing that costs; exits with 1 where something is
    wrong."""
    findings = list(_examine(job, {"api": api, "output": output and str(output)}, allow_hosts, online))
    well = all(finding.state != "wrong" for finding in findings)
    if as_json:
        screen.out_json({"well": well, "checks": msgspec.to_builtins(findings)})
    else:
        _tell(findings)
    raise click.exceptions.Exit(0 if well else 1)


def _examine(
    path: str | None, overrides: dict[str, Any], allow_hosts: tuple[str, ...], online: bool
) -> Iterator[Finding]:
    yield python()
    yield from _tried("config", lambda: _configured(allow_hosts))
    world = _world(allow_hosts)
    spec: JobSpec | None = None
    if path is not None:
        try:
            spec = load(path, {key: value for key, value in overrides.items() if value is not None}, world)
            yield Finding("job", "fine", f"{path}: every key can be read")
        except JobError as error:
            yield Finding("job", "wrong", str(error), "mend the job, then ask again: journeybatch plan says the same")
    try:
        endpoint = endpoint_of(spec, world) if spec else endpoint_at(overrides["api"], world)
        yield _keyed(endpoint)
        yield _asked(endpoint, world) if online and not endpoint.emulated else _not_asked(endpoint)
    except JobError as error:
        yield Finding("key", "wrong", str(error))
    output = spec.output if spec else Path(overrides["output"] or "runs").absolute()
    yield from disk(output)
    yield descriptors(spec.concurrency.most if spec else 16)
    yield clock(time.time())
    yield terminal()
    yield from extras()


def _tell(findings: list[Finding]) -> None:
    for finding in findings:
        for number, line in enumerate(finding.found.splitlines()):
            head = f"{finding.state:<6}{finding.check}: " if number == 0 else " " * 6
            screen.out(head + screen.safe(line))
        if finding.advice is not None:
            screen.out(f"{'':6}→ {screen.safe(finding.advice)}")
    wrong = [finding.check for finding in findings if finding.state == "wrong"]
    screen.out(f"to mend: {', '.join(dict.fromkeys(wrong))}" if wrong else "all is well")


def python() -> Finding:
    """The interpreter and the system."""
    told = f"{platform.python_version()} on {platform.system()}, journeybatch {journeybatch.__version__}"
    if sys.platform in ("linux", "darwin"):
        return Finding("python", "fine", told)
    return Finding("python", "wrong", told, "run it on Linux or macOS (on Windows: in WSL)")


def _tried(check: str, found: Callable[[], str]) -> Iterator[Finding]:
    try:
        yield Finding(check, "fine", found())
    except JobError as error:
        yield Finding(check, "wrong", str(error))


def _configured(allow_hosts: tuple[str, ...]) -> str:
    config = read_world(allow_hosts).config
    told = [f"prices of {len(config.credits)} models", f"hosts allowed: {', '.join(config.allow_hosts) or 'none'}"]
    return ", ".join(told)


def _world(allow_hosts: tuple[str, ...]) -> World:
    """The world; without the user's config where that is wrong, which is said apart."""
    try:
        return read_world(allow_hosts)
    except JobError:
        return World(dict(os.environ), allow_hosts=allow_hosts)


def _keyed(endpoint: Endpoint) -> Finding:
    if endpoint.emulated:
        return Finding("key", "fine", "the emulator answers: it takes no key, and no credit is real")
    if endpoint.auth == "none":
        return Finding("key", "fine", f"none is sent to {endpoint.base_url} (api.auth: none)")
    return Finding("key", "fine", f"set; it goes to {urlsplit(endpoint.base_url).netloc} only")


def _not_asked(endpoint: Endpoint) -> Finding:
    if endpoint.emulated:
        return Finding("endpoint", "fine", "the emulator, in a process of this machine")
    return Finding("endpoint", "note", f"{endpoint.base_url}: not asked", "say --online to ask it for the balance")


def _asked(endpoint: Endpoint, world: World) -> Finding:
    """Whether the endpoint answers, and what the account holds."""

    async def ask() -> tuple[dict[str, Any] | None, float]:
        began = anyio.current_time()
        with anyio.fail_after(PATIENCE_S):
            return await fetch_account(endpoint, world), anyio.current_time() - began

    where = endpoint.base_url
    try:
        account, took_s = anyio.run(ask)
    except TimeoutError:
        return Finding(
            "endpoint", "wrong", f"{where}: no answer within {PATIENCE_S:g} s", "is it up? Is there a proxy?"
        )
    except ApiFailure as failure:
        if failure.kind == "malformed":  # it may answer questions all the same: only a run can tell
            return Finding("endpoint", "note", f"{where}: {failure}", _ADVICE["endpoint"])
        advice = _ADVICE.get(failure.stopped_by or "", "check the network, the proxy (HTTPS_PROXY) and the base URL")
        return Finding("endpoint", "wrong", f"{where}: {failure}", advice)
    credits = (account or {}).get("credits")
    answers = f"{where}: answers in {took_s:.2f} s"
    if credits is None and (brought := anyio.run(no_json, endpoint, world, PATIENCE_S)) is not None:
        found = f"{where}: speaks HTTP, and perhaps not this API: GET /models brought no JSON, but {brought}"
        return Finding("endpoint", "note", found, _ADVICE["endpoint"])
    if credits is None:
        return Finding("endpoint", "note", f"{answers}, and tells no balance", "cap runs with --max-credits")
    if isinstance(credits, int | float) and credits <= 0:
        return Finding("endpoint", "wrong", f"{answers}; balance: {credits} credits", _ADVICE["credits"])
    return Finding("endpoint", "fine", f"{answers}; balance: {credits} credits")


def disk(output: Path) -> Iterator[Finding]:
    """Room, writing and locks where ``output`` is or will be. Leaves nothing there."""
    place = next(each for each in (output, *output.parents) if each.exists())
    if not place.is_dir():
        yield Finding("disk", "wrong", f"{place}: is no directory", "choose another output")
        return
    if locked(output / NAME):
        yield Finding("disk", "note", f"{output}: a run is at work here", "journeybatch status --watch shows it")
    free = shutil.disk_usage(place).free
    room = f"{place}: {free / 2**30:,.1f} GiB free"
    little = "make room: journal and results grow with every reply"
    if free < ROOM_WANTED:
        yield Finding("disk", "wrong" if free < ROOM_NEEDED else "note", room, little)
    else:
        yield Finding("disk", "fine", room)
    try:
        yield _written(place)
    except OSError as error:
        found = f"{place}: cannot be written: {error.strerror or error}"
        yield Finding("disk", "wrong", found, "choose another output, or mend its permissions")


def _written(place: Path) -> Finding:
    """Write, sync and lock a file in ``place``, as a journal is. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=place, prefix=".journeybatch-doctor-") as file:
        file.write(b"journeybatch")
        file.flush()
        os.fsync(file.fileno())
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        with Path(file.name).open("rb") as other:
            try:
                fcntl.flock(other.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Finding("disk", "fine", f"{place}: can be written, synced and locked")
    return Finding(
        "disk",
        "wrong",
        f"{place}: locks do not hold here; two runs could pay twice",
        "choose an output on a local disk",
    )


def descriptors(concurrency: int) -> Finding:
    """Whether as many files may be open as there are requests in flight, and some more."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    found = f"{'any number' if most == resource.RLIM_INFINITY else most} may be open"
    if most == resource.RLIM_INFINITY or most >= concurrency + FILES_BESIDES:
        return Finding("files", "fine", found)
    more = f"ulimit -n {concurrency + 4 * FILES_BESIDES}"
    return Finding("files", "wrong", f"{found}, and {concurrency} requests in flight need one each", more)


def clock(now: float) -> Finding:
    """Whether ``now`` (Unix seconds) can be right: it is later than this package was installed."""
    shown = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if now >= Path(errors.__file__).stat().st_mtime - 86_400:
        return Finding("clock", "fine", shown)
    found = f"{shown}, which is before journeybatch was installed"
    return Finding("clock", "wrong", found, "set the clock: certificates and the cap by the day go by it")


def terminal() -> Finding:
    """What a person will see of a run."""
    watched = screen.stderr().is_terminal
    encoding = (getattr(sys.stderr, "encoding", None) or "none").lower()
    told = f"{'a terminal: runs show a bar' if watched else 'none: runs print a line every 30 s'}, {encoding}"
    if encoding.replace("-", "") == "utf8":
        return Finding("terminal", "fine", told)
    return Finding("terminal", "note", told, "export PYTHONUTF8=1 shows all characters")


def extras() -> Iterator[Finding]:
    """The optional parts: which are installed, and how to get the others."""
    wanted: dict[str, list[str]] = {}
    try:
        needs = metadata.requires("journeybatch") or []
    except metadata.PackageNotFoundError:
        yield Finding("extras", "note", "journeybatch is not installed as a package", "pip install journeybatch")
        return
    for name, extra in (match.groups() for need in needs if (match := _EXTRA.match(need))):
        if extra != "test":
            wanted.setdefault(extra, []).append(name)
    for extra, names in sorted(wanted.items()):
        missing = [name for name in names if not _installed(name)]
        if missing:
            found = f"{extra}: not installed ({', '.join(missing)})"
            yield Finding("extras", "note", found, f"pip install 'journeybatch[{extra}]', if you need it")
        else:
            yield Finding("extras", "fine", f"{extra}: installed")


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False
