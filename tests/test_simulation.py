"""Limiter, retry and lanes together, in virtual time, under seeds, against an upstream that is a script."""

import itertools
import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field

import anyio
import pytest
import trio
from trio.testing import MockClock

from journeybatch.concurrency import InFlight
from journeybatch.errors import ApiFailure, Outage, TooManyFailures, Unauthorized
from journeybatch.lanes import run_lanes
from journeybatch.limiter import Limiter, limited
from journeybatch.records import Completion, Price, Request
from journeybatch.retry import retrying

DONE = Completion(200, {}, b"{}", 0.05)
HOURS = 3600.0


def refused():
    return ApiFailure("unreachable", "connection refused", charge="free", then="retry")


def reset():
    return ApiFailure("reset", "connection reset", charge="unknown", then="retry")


def timed_out():
    return ApiFailure("timeout", "no answer in 600 s", charge="unknown", then="retry")


def broken():
    return ApiFailure("server_error", "HTTP 500", charge="unknown", then="retry", status=500)


def throttled(retry_after_s=None, status=429):
    kind = "rate_limited" if status == 429 else "unavailable"
    return ApiFailure(kind, f"HTTP {status}", charge="free", then="pause", status=status, retry_after_s=retry_after_s)


def rejected(status=400, kind="rejected"):
    return ApiFailure(kind, f"HTTP {status}: bad row", charge="free", then="reject", status=status)


def stopped(status=401, reason="auth"):
    return ApiFailure(reason, f"HTTP {status}", charge="free", then="stop", status=status, stopped_by=reason)


@dataclass
class Night:
    """What a simulated run did: every start at the upstream, and how each row ended."""

    concurrency: int
    limiter: Limiter | None = None
    starts: list = field(default_factory=list)  # (time, request id, attempt)
    ends: list = field(default_factory=list)  # time of each answered row
    failed: dict = field(default_factory=dict)  # request id → the ApiFailure it ended with
    in_flight: int = 0
    most: int = 0
    stop: BaseException | None = None
    seconds: float = 0.0
    windows: list = field(default_factory=list)  # the window's size at each start

    @property
    def extra(self):
        """Requests sent beyond one per finished row."""
        return len(self.starts) - len(self.ends) - len(self.failed)

    def rate(self, since, seconds):
        """Answers per second in a stretch of time."""
        return sum(since <= end < since + seconds for end in self.ends) / seconds

    def attempts(self):
        return Counter(request for _, request, _ in self.starts)


def simulate(seed, behave, *, rows, concurrency, rpm=None, latency=0.05, adapts=False):
    """Run ``rows`` requests under ``seed``; ``behave(request, now, rng)`` returns None, a failure, or (s, either).

    What happens is decided when a request arrives; it takes ``latency`` seconds (give or take a tenth) unless
    ``behave`` says how long.
    """
    night, rng = Night(concurrency), random.Random(seed)

    async def upstream(request):
        now = anyio.current_time()
        night.starts.append((now, request.id, request.attempt))
        night.windows.append(night.limiter.window)
        night.in_flight += 1
        night.most = max(night.most, night.in_flight)
        assert night.in_flight <= night.limiter.in_flight <= concurrency
        try:
            outcome, takes = behave(request, now, rng), latency * rng.uniform(0.9, 1.1)
            if isinstance(outcome, tuple):
                takes, outcome = outcome
            if takes:
                await anyio.sleep(takes)
            if outcome is not None:
                raise outcome
            return DONE
        finally:
            night.in_flight -= 1

    async def main():
        night.limiter = Limiter(InFlight(concurrency, adapts), requests_per_minute=rpm, rng=rng)
        send = retrying(limited(upstream, night.limiter), attempts=3, on_unknown="retry", rng=rng)

        async def work(request):
            try:
                await send(request)
                night.ends.append(anyio.current_time())
            except ApiFailure as failure:
                night.failed[request.id] = failure

        requests = (Request(n, "m", (), b"", Price(1, 1)) for n in range(rows))
        try:
            with anyio.fail_after(48 * HOURS):  # a lost wake-up would let virtual time run up to here
                await run_lanes(requests, work, lanes=concurrency)
        except Exception as stop:  # noqa: BLE001 - the test looks at it
            night.stop = stop
        assert night.limiter.in_flight == 0
        night.seconds = anyio.current_time()

    trio._core._run._r.seed(seed)  # the order in which trio runs what is ready
    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return night


def outage(kind, begins, ends):
    """An endpoint that fails everything for a while."""
    failing = {
        "refused": lambda: (0.0, refused()),
        "reset": lambda: (0.0, reset()),
        "500": broken,
        "hang": lambda: (600.0, timed_out()),
        "503": lambda: throttled(status=503),
        "503 retry-after 1": lambda: throttled(1.0, status=503),
        "503 retry-after 30": lambda: throttled(30.0, status=503),
    }[kind]
    return lambda request, now, rng: failing() if begins <= now < ends else None


KINDS = ["refused", "reset", "500", "hang", "503", "503 retry-after 1", "503 retry-after 30"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_a_three_hour_outage_costs_few_requests_and_no_row(kind, seed):
    recovery, full = 2 + 3 * HOURS, 256 / 0.5
    night = simulate(seed, outage(kind, 2.0, recovery), rows=4000, concurrency=256, latency=0.5)
    assert night.stop is None, seed
    assert not night.failed, seed
    assert len(night.ends) == 4000
    assert night.extra <= 475, seed
    best = max(night.rate(recovery + second, 2) for second in range(0, 119))
    assert best >= 0.9 * full, seed


@pytest.mark.parametrize("concurrency", [8, 64, 256])
@pytest.mark.parametrize("seed", range(2))
def test_fifty_millisecond_failures_for_three_hours_cost_few_requests_and_no_row(concurrency, seed):
    night = simulate(seed, outage("500", 2.0, 2 + 3 * HOURS), rows=60 * concurrency, concurrency=concurrency)
    assert not night.failed, seed
    assert night.extra <= concurrency + 20 + 181, seed


@pytest.mark.parametrize("concurrency", [1, 2, 4, 16])
def test_connections_refused_for_three_hours_cost_no_row_at_low_concurrency_either(concurrency):
    for seed in range(3):
        night = simulate(
            seed, outage("refused", 20.0, 20 + 3 * HOURS), rows=40 * concurrency, concurrency=concurrency, latency=1
        )
        assert not night.failed, seed
        assert night.extra <= 475, seed


def test_an_outage_shows_although_slow_answers_from_before_still_come_in():
    def behave(request, now, rng):
        return (0.05, broken()) if 100 <= now < 100 + 3 * HOURS else (rng.uniform(6, 34), None)

    for seed in range(3):
        night = simulate(seed, behave, rows=2500, concurrency=256)
        assert not night.failed, seed
        assert night.extra <= 475, seed


def test_during_an_outage_there_is_one_probe_a_minute_and_never_the_same_row_twice():
    night = simulate(0, outage("500", 2.0, 2 + 3 * HOURS), rows=4000, concurrency=256, latency=0.5)
    probes = [(t, request) for t, request, _ in night.starts if 10 < t < 2 + 3 * HOURS]
    assert 178 <= len(probes) <= 180
    assert all(59.9 < b[0] - a[0] < 60.1 for a, b in itertools.pairwise(probes))
    assert len({request for _, request in probes}) == len(probes)


def test_an_outage_of_four_hours_stops_the_run():
    night = simulate(0, outage("500", 2.0, math.inf), rows=4000, concurrency=64)
    assert isinstance(night.stop, Outage)
    assert "four hours" in str(night.stop)
    assert 4 * HOURS <= night.seconds <= 4 * HOURS + 70
    assert not night.failed


@pytest.mark.parametrize("kind", ["500", "reset", "hang", "503"])
def test_an_endpoint_that_never_works_stops_the_run_after_about_twenty_requests(kind):
    night = simulate(0, outage(kind, 0.0, math.inf), rows=1000, concurrency=256)
    assert isinstance(night.stop, Outage)
    assert "HTTP 50" in str(night.stop) or "reset" in str(night.stop) or "600 s" in str(night.stop)
    assert len(night.starts) <= 41
    assert night.seconds < 1300
    assert not night.failed


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_a_row_that_always_fails_ends_after_its_attempts_while_the_others_are_answered(concurrency):
    def behave(request, now, rng):
        return broken() if request.id % 100 == 7 else None

    night = simulate(0, behave, rows=800, concurrency=concurrency)
    assert sorted(night.failed) == [n for n in range(800) if n % 100 == 7]
    assert all(night.attempts()[request] == 3 for request in night.failed)
    assert night.seconds < 800 * 0.055 / concurrency + 10


def test_one_row_that_is_always_turned_away_with_429_ends_after_its_attempts_too():
    night = simulate(0, lambda request, now, rng: throttled() if request.id == 50 else None, rows=300, concurrency=8)
    assert list(night.failed) == [50]
    assert night.attempts()[50] == 3


@pytest.mark.parametrize("seed", range(3))
def test_amplification_follows_the_fault_rate(seed):
    night = simulate(
        seed, lambda request, now, rng: broken() if rng.random() < 0.2 else None, rows=3000, concurrency=64
    )
    assert len(night.starts) / 3000 == pytest.approx(1 + 0.2 + 0.04, abs=0.03), seed
    assert len(night.failed) / 3000 == pytest.approx(0.008, abs=0.006), seed
    assert max(night.attempts().values()) == 3, seed
    waiting = 0.2 * 0.25 + 0.04 * 0.5  # mean back-off per row, which its lane spends with it
    assert night.seconds < 3000 * (1.24 * 0.05 + waiting) / 64 * 1.3 + 1, seed


# -- throttling by true capacity


def sliding(per_minute, *, retry_after):
    """A server that answers so many requests in any minute and turns the others away."""
    log = deque()

    def behave(request, now, rng):
        while log and log[0] <= now - 60:
            log.popleft()
        if len(log) >= per_minute:
            return 0.02, throttled(math.ceil(log[0] + 60 - now) if retry_after else None)
        log.append(now)
        return None

    return behave


def bucket(per_minute, size, *, retry_after):
    """A server with a bucket of tokens that fills evenly."""
    tokens, filled = float(size), 0.0

    def behave(request, now, rng):
        nonlocal tokens, filled
        tokens, filled = min(size, tokens + (now - filled) * per_minute / 60), now
        if tokens < 1:
            return 0.02, throttled(math.ceil((1 - tokens) * 60 / per_minute) if retry_after else None)
        tokens -= 1
        return None

    return behave


SERVERS = {
    "a sliding minute of 600": lambda: sliding(600, retry_after=True),
    "a sliding minute of 600, wordless": lambda: sliding(600, retry_after=False),
    "600 a minute, ten at once": lambda: bucket(600, 10, retry_after=True),
    "600 a minute, ten at once, wordless": lambda: bucket(600, 10, retry_after=False),
    "600 a minute, 600 at once, wordless": lambda: bucket(600, 600, retry_after=False),
}


@pytest.mark.parametrize("concurrency", [4, 64, 256])
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_of_small_capacity_fails_no_row_and_is_used_well(server, concurrency):
    night = simulate(1, SERVERS[server](), rows=2000, concurrency=concurrency)
    assert night.stop is None
    assert not night.failed
    assert len(night.ends) / night.seconds * 60 >= 0.7 * 600


def test_slow_answers_from_a_server_of_small_capacity_fail_no_row_either():
    for server in SERVERS.values():
        night = simulate(1, server(), rows=1200, concurrency=64, latency=5)
        assert night.stop is None
        assert not night.failed
        assert len(night.ends) / night.seconds * 60 >= 0.4 * 600


def test_the_window_shrinks_under_throttling_and_grows_back_after_it():
    def behave(request, now, rng):
        return (0.02, throttled()) if 3 <= now < 60 and rng.random() < 0.5 else None

    night = simulate(2, behave, rows=20000, concurrency=64)
    assert min(night.windows) < 16
    assert night.windows[-1] == 64


# -- the canary


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_costs_one_request_at_any_concurrency(status):
    night = simulate(0, lambda *_: stopped(status), rows=1000, concurrency=64)
    assert isinstance(night.stop, Unauthorized)
    assert len(night.starts) == 1
    assert not night.failed


def test_nothing_listening_costs_one_try():
    night = simulate(0, lambda *_: (0.0, refused()), rows=1000, concurrency=64)
    assert isinstance(night.stop, Outage)
    assert "nothing was sent" in str(night.stop)
    assert len(night.starts) == 1


@pytest.mark.parametrize("first", [None, rejected(), broken(), throttled(), reset()])
def test_the_others_wait_for_the_first_requests_end(first):
    landed = 7.0
    night = simulate(0, lambda request, now, rng: (7.0, first) if now < 7 else None, rows=200, concurrency=64)
    assert night.stop is None
    assert [request for t, request, _ in night.starts if t < landed] == [night.starts[0][1]]
    assert len(night.ends) + len(night.failed) == 200
    assert len(night.failed) == (first is not None and first.then == "reject")


def test_full_speed_comes_with_the_canarys_answer():
    night = simulate(0, lambda *_: None, rows=2560, concurrency=256)
    assert sum(t < 0.06 for t, _, _ in night.starts) >= 256
    assert night.seconds < 0.05 + 11 * 0.055


def test_rows_rejected_alike_twenty_times_in_a_row_stop_the_run():
    night = simulate(0, lambda *_: rejected(422), rows=1000, concurrency=1)
    assert isinstance(night.stop, TooManyFailures)
    assert len(night.starts) == 20


# -- pauses, the pace, cancellation


def test_retry_after_is_honoured_by_everyone():
    def behave(request, now, rng):
        return (0.02, throttled(30.0)) if 1.0 <= now < 1.05 else None

    night = simulate(0, behave, rows=2000, concurrency=64)
    first = min(t for t, _, _ in night.starts if t >= 1.0) + 0.02
    last = max(t for t, _, _ in night.starts if t < 1.05) + 0.02
    assert not [t for t, _, _ in night.starts if first < t < last + 29.9]
    assert not night.failed


@pytest.mark.parametrize("seed", range(4))
def test_requests_per_minute_hold_whatever_else_happens(seed):
    def behave(request, now, rng):
        return rng.choice([None, None, None, None, broken(), throttled(rng.choice([None, 2.0])), (0.0, reset())])

    night = simulate(seed, behave, rows=200, concurrency=16, rpm=40)
    starts = [t for t, _, _ in night.starts]
    assert all(beyond - first > 60 for first, beyond in zip(starts, starts[40:], strict=False)), seed


@pytest.mark.parametrize("seed", range(25))
def test_random_cancellations_leave_no_trace(seed):
    rng = random.Random(seed)
    limiter = Limiter(InFlight(4), requests_per_minute=rng.choice([None, 600]), rng=rng)
    answered, busy = [], 0

    async def upstream(request):
        nonlocal busy
        busy += 1
        assert busy <= 4
        try:
            await anyio.sleep(rng.uniform(0.01, 1))
            if request.id < 60 and rng.random() < 0.3:
                raise rng.choice([throttled, broken, refused])() if answered else broken()
            return DONE
        finally:
            busy -= 1

    send = limited(upstream, limiter)

    async def caller(number):
        await anyio.sleep(rng.uniform(0, 3))
        with anyio.move_on_after(rng.choice([0, 0.005, 0.2, 0.5, 1, 2])):
            try:
                await send(Request(number, "m", (), b"", Price(1, 1), attempt=rng.randint(1, 3)))
                answered.append(number)
            except ApiFailure:
                pass

    async def main():
        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(caller, number)
        assert limiter.in_flight == 0
        await anyio.sleep(4000)  # any pause is over, a probe is due
        with anyio.fail_after(HOURS):  # a lost wake-up would let virtual time run up to here
            async with anyio.create_task_group() as group:
                for number in range(60, 90):
                    group.start_soon(send, Request(number, "m", (), b"", Price(1, 1)))
        assert limiter.in_flight == 0

    trio._core._run._r.seed(seed)
    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def test_the_same_seed_gives_the_same_night():
    def behave(request, now, rng):
        return broken() if rng.random() < 0.2 else None

    nights = [simulate(5, behave, rows=500, concurrency=32) for _ in range(2)]
    assert nights[0].ends == nights[1].ends
