"""The innermost Send on a Ray cluster: workers are Ray actors, everything that counts stays here.

Ray starts workers, says when one is gone, and carries bytes. The key is not among them: each worker reads it on its own
machine (``api.key_env`` or ``api.key_file``) and shows by an HMAC that it has the same one. It is no argument of a
task, no object, no part of a runtime environment, and so in no log, no state API and no dashboard.
"""

from __future__ import annotations

import importlib
import math
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from journeybatch import __version__
from journeybatch.client import Endpoint
from journeybatch.courier import Gone, Unheard
from journeybatch.endpoint import KEY
from journeybatch.errors import JobError
from journeybatch.excerpt import clean
from journeybatch.fleet import LEASE_S, Fleet
from journeybatch.outpost import Outpost
from journeybatch.parcels import Errand, Greeting, greeting_of, pack, proof_of
from journeybatch.proxy import loopback
from journeybatch.sections import Api, Engine

STORE_BYTES = 100 * 2**20
"""Shared memory of a Ray of our own: what is in flight, and no more."""
KNOCK_S = 5.0
"""How long a cluster's address may take to answer."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""How gRPC begins: HTTP/2's preface, and settings, which the other side answers with its own."""
_BECAUSE = re.compile(r"The actor (?:is dead|died) because (?:of )?(.*?)(?:\.\s|\.?$)", re.DOTALL)


class Worker(Outpost):
    """An outpost as a Ray actor."""

    def __init__(self, errand: bytes) -> None:
        from journeybatch.cli import machine

        super().__init__(errand, machine.environ(), machine.end)

    def node(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())


class RayStation:
    """A worker, reached through Ray: a new actor, which dies with this process. Ray neither restarts it nor calls it
    again: what it had in flight would be asked twice."""

    def __init__(self, actor: Any, errand: bytes) -> None:
        self._actor = actor.remote(errand)
        self._node = ""

    async def greet(self) -> bytes:
        greeting = bytes(await self._answer(self._actor.greet.remote()))
        self._node = greeting_of(greeting).node
        return greeting

    async def post(self, number: int, batch: bytes) -> None:
        await self._answer(self._actor.post.remote(number, batch))

    async def take(self, seen: int, linger_s: float) -> bytes:
        return bytes(await self._answer(self._actor.take.remote(seen, linger_s)))

    def dismiss(self) -> None:
        import ray

        with suppress(Exception):  # it is dead, or the cluster is
            ray.kill(self._actor)

    async def _answer(self, reference: Awaitable[Any]) -> Any:
        from ray import exceptions

        try:
            return await reference
        except exceptions.ActorUnavailableError as error:
            raise Unheard(_why(error)) from None
        except (exceptions.RayActorError, exceptions.RayTaskError) as error:
            raise Gone(_why(error), sure=self._ended()) from None
        except exceptions.RayError as error:  # a reply was lost on its way: the worker has it still
            raise Unheard(_why(error)) from None

    def _ended(self) -> bool:
        """Whether its process is known to have ended: its own node says so, and is alive. Of a node that is gone nobody
        knows what it still does."""
        ray: Any = importlib.import_module("ray")
        try:
            return any(node["NodeID"] == self._node and node["Alive"] for node in ray.nodes())
        except Exception:  # noqa: BLE001  the cluster does not answer
            return False


def check_engine(engine: Engine, allowed: Collection[str]) -> None:
    """Raises JobError without Ray, and for a cluster that only the job file vouches for: whoever has it could run code
    here, and reads every row. ``allowed`` are hosts that the user trusts."""
    if engine.kind != "ray":
        return
    _check_installed()
    host = (engine.address or "local").rpartition(":")[0].strip("[]").lower()
    if host and not loopback(host) and host not in {name.lower() for name in allowed}:
        raise JobError(
            f"the job hands its rows to the Ray cluster at {engine.address}: give that as --address if it is meant, or "
            f"allow it with --allow-host {host} (or allow_hosts in the user config); nothing was sent"
        )


def _check_installed() -> None:
    try:
        found = find_spec("ray")
    except ValueError:  # it was half imported
        found = None
    if found is None:
        raise JobError("engine: ray needs Ray: pip install 'journeybatch[ray]'; nothing was sent")


def errand_of_run(endpoint: Endpoint, api: Api, timeout_s: float) -> Errand:
    """What the workers of a run are told."""
    auth, url = endpoint.auth, endpoint.base_url
    key_env = api.key_env or KEY
    return Errand(url, auth, endpoint.emulated, key_env, api.key_file, timeout_s, LEASE_S, secrets.token_hex(16))


@asynccontextmanager
async def fleet_on_ray(
    engine: Engine, errand: Errand, key: str, say: Callable[[str], None], environ: Mapping[str, str]
) -> AsyncIterator[Fleet]:
    """Workers on the cluster that ``engine`` names, or on a Ray of this run's own. ``key`` is what they must have.

    Raises JobError: no cluster, another version, no room, no key; nothing was sent.
    """
    with _connected(engine, environ) as ray:
        places = engine.workers or max(1, sum(_has_room(node, engine.cpus) for node in ray.nodes()))
        options = {"num_cpus": engine.cpus, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        actor, packed = ray.remote(Worker).options(**options), pack(errand)
        fleet = Fleet(lambda: RayStation(actor, packed), places, check=_checker(errand, key), say=say)

        def no_room() -> str:
            free = ray.available_resources().get("CPU", 0)
            return (
                f"no worker came within {engine.start_timeout_s:g} s: the cluster has {free:g} free CPUs, and each of "
                f"{places} workers wants {engine.cpus:g} (engine.cpus); nothing was sent"
            )

        async with fleet.at_work(engine.start_timeout_s, no_room):
            yield fleet


def _has_room(node: Mapping[str, Any], cpus: float) -> bool:
    return bool(node["Alive"]) and node["Resources"].get("CPU", 0) >= cpus


def _checker(errand: Errand, key: str) -> Callable[[Greeting], None]:
    proof, here = proof_of(key, errand.nonce), socket.gethostname()

    def check(greeting: Greeting) -> None:
        where = f"the worker on {greeting.host}"
        if greeting.version != __version__:
            raise JobError(
                f"{where} has journeybatch {greeting.version}, this process {__version__}: install the same version "
                "on all machines of the cluster; nothing was sent"
            )
        if greeting.problem is not None:
            raise JobError(
                f"{where}: {greeting.problem}. Workers read the key on their own machines: set {errand.key_env} where "
                "`ray start` is called on each of them (on Kubernetes, a Secret); nothing was sent"
            )
        if greeting.proof != proof:
            raise JobError(f"{where} has another key than this process: one account has to pay; nothing was sent")
        if errand.emulated and greeting.host != here:
            raise JobError(f"{where} cannot reach the emulator, which serves its own machine only; nothing was sent")

    return check


@contextmanager
def _connected(engine: Engine, environ: Mapping[str, str]) -> Iterator[Any]:
    """Ray, connected as long as the block lasts; it stays so where somebody else connected it."""
    from journeybatch.cli import machine

    machine.settle_ray()
    with _unwarned():
        import ray

    if ray.is_initialized():
        yield ray
        return
    address = engine.address or environ.get("RAY_ADDRESS") or "local"
    # Not below TMPDIR, which may be long: a socket's path has 107 characters at most.
    room = tempfile.mkdtemp(prefix="jb-ray-", dir="/tmp") if address == "local" else None
    with _silenced():
        try:
            with _signals_kept(), _unwarned():
                _init(ray, address, engine, room, environ)
            yield ray
        finally:
            with _unwarned():
                ray.shutdown()
            if room is not None:
                shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _unwarned() -> Iterator[None]:
    """What Ray warns of as it starts and stops is its own business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _init(ray: Any, address: str, engine: Engine, room: str | None, environ: Mapping[str, str]) -> None:
    """Raises JobError."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if room is not None:
        wanted = math.ceil((engine.workers or 1) * engine.cpus)
        cores = {"num_cpus": wanted} if wanted > 1 else {}
        quiet |= {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_temp_dir": room, **cores}
    try:
        if room is None:
            _knock(_found(address), tls="RAY_USE_TLS" in environ)
        ray.init(address, **quiet)
    except Exception as error:  # noqa: BLE001  what Ray raises here is undocumented, and each means the same
        told = clean(" ".join(str(error).split()))
        where = "Ray does not start on this machine" if room else f"the Ray cluster at {address} cannot be used"
        hint = "" if room else "; engine.address is its head as host:port, as `ray start --head` names it"
        raise JobError(f"{where}: {told}{hint}; nothing was sent") from None


def _found(address: str) -> str:
    """host:port, also for ``auto``. Raises ConnectionError where no cluster runs here."""
    services: Any = importlib.import_module("ray._private.services")
    return str(services.canonicalize_bootstrap_address_or_die(address)) if address == "auto" else address


def _knock(address: str, *, tls: bool) -> None:
    """Ray itself would try for minutes, be nobody there or somebody else. Raises OSError."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S) as connection:
        connection.settimeout(KNOCK_S)
        if not tls:
            connection.sendall(_HELLO)
            if connection.recv(9)[3:4] != _HELLO[-6:-5]:
                raise ConnectionError("what answers there is not Ray")


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray puts a handler of its own for SIGTERM in the place of ours."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _silenced() -> Iterator[None]:
    """Ray prints what befalls nodes and workers on standard output, which is for results; we say it ourselves."""
    module: Any = importlib.import_module("ray._private.worker")
    loud = getattr(module, "print_to_stdstream", None)
    module.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        module.print_to_stdstream = loud


def _why(error: Exception) -> str:
    """What Ray says in pages, in a sentence."""
    text = str(error)
    if missing := re.search(r"No module named '[^']+'", text):
        return f"{missing[0]} on the worker's machine: install journeybatch there, in the same version"
    found = _BECAUSE.search(text)
    return " ".join((found[1] if found else text.strip().split("\n")[0]).split())[:300]
