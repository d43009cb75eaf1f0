"""`concurrency: auto`, in virtual time, against servers whose limits are known and change."""

import itertools
import math
import random

import anyio
import pytest
from test_simulation import refused, simulate, throttled
from trio.testing import MockClock

from journeybatch.concurrency import InFlight
from journeybatch.gauge import Gauge
from journeybatch.limiter import Limiter, limited
from journeybatch.records import Completion, Price, Request


class Server:
    """Answers ``limit(now)`` requests at a time, each in ``latency`` seconds; others it refuses, or lets wait."""

    def __init__(self, limit, *, latency=0.5, spread=0.3, queues=False, retry_after=None):
        self.limit, self.latency, self.spread = limit, latency, spread
        self.queues, self.retry_after = queues, retry_after
        self.busy = []  # when each of the requests that are being worked at will be done
        self.refused = self.capacity = 0

    def __call__(self, request, now, rng):
        takes = self.latency * math.exp(rng.gauss(0, self.spread) - self.spread**2 / 2)
        self.busy = [end for end in self.busy if end > now]
        limit = self.limit(now)
        if len(self.busy) >= limit and not self.queues:
            self.refused += 1
            return 0.02, throttled(self.retry_after)
        start = now if len(self.busy) < limit else sorted(self.busy)[len(self.busy) - limit]
        self.busy.append(start + takes)
        return start + takes - now, None

    def could(self, seconds):
        """Answers that it could have given in so many seconds."""
        return sum(self.limit(t) for t in range(math.ceil(seconds))) / self.latency


def run(server, rows, most=512, seed=1):
    night = simulate(seed, server, rows=rows, concurrency=most, adapts=True)
    assert night.stop is None
    assert not night.failed
    return night


def levels(*limits, every):
    """A limit that changes ``every`` so many seconds, and stays at the last."""
    return lambda now: limits[min(int(now // every), len(limits) - 1)]


def used(server, night):
    """How much of what the server could do was asked of it."""
    return len(night.ends) / server.could(night.seconds)


@pytest.mark.parametrize("queues", [False, True], ids=["refuses", "queues"])
def test_nine_tenths_of_what_a_server_can_do_are_used(queues):
    server = Server(lambda now: 40, latency=1.0, queues=queues)
    night = run(server, 16_000)
    assert used(server, night) >= 0.9
    assert server.refused < 0.02 * len(night.starts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("queues", [False, True], ids=["refuses", "queues"])
def test_a_limit_that_changes_is_followed(queues, seed):
    server = Server(levels(16, 64, 8, 32, every=600), latency=1.0, queues=queues)
    night = run(server, 60_000, seed=seed)
    assert used(server, night) >= 0.88
    assert server.refused < 0.02 * len(night.starts)


@pytest.mark.parametrize("queues", [False, True], ids=["refuses", "queues"])
def test_it_finds_its_size_again_when_the_limit_falls_and_rises(queues):
    server = Server(levels(40, 10, 30, every=150), latency=0.5, queues=queues)
    night = run(server, 20_000)
    assert night.seconds > 400
    sizes = {
        at: [size for (now, _, _), size in zip(night.starts, night.windows, strict=True) if at - 40 < now < at]
        for at in (150, 300, 400)
    }
    middle = {at: sorted(found)[len(found) // 2] for at, found in sizes.items()}
    assert 34 <= middle[150] <= 80
    assert 8 <= middle[300] <= 20
    assert 22 <= middle[400] <= 60


def test_a_server_that_bears_everything_is_given_the_users_limit_and_no_more():
    night = run(Server(lambda now: 10_000, latency=0.5), 8_000, most=128)
    assert night.windows[0] == 8
    assert night.windows[-1] == night.most == 128
    assert night.limiter.found.value == 128


def test_a_retry_after_is_waited_for_and_the_limit_found_all_the_same():
    server = Server(lambda now: 30, latency=0.5, retry_after=2.0)
    night = run(server, 10_000)
    assert used(server, night) >= 0.85
    assert night.limiter.found.value == pytest.approx(30, abs=3)
    assert "429" in night.limiter.found.why


def test_after_an_outage_the_size_is_reached_again_by_a_ramp():
    calm = Server(lambda now: 10_000, latency=0.5)

    def behave(request, now, rng):
        return (0.0, refused()) if 60 <= now < 600 else calm(request, now, rng)

    night = simulate(1, behave, rows=40_000, concurrency=128, adapts=True)
    assert not night.failed
    started = [now for now, _, _ in night.starts]
    back = next(now for now in started if now > 600)
    assert sum(back <= now < back + 0.4 for now in started) < 20
    assert night.rate(back + 10, 20) > 0.9 * 128 / 0.5


def test_slow_answers_do_not_count_while_the_rows_run_out():
    gauge = Gauge(64)
    for n in range(1000):
        gauge.answered(n * 0.1, 2)
    assert gauge.size == 8


def test_a_server_that_grows_slower_for_all_keeps_its_size():
    server = Server(lambda now: 10_000, latency=0.2, spread=0.1)

    def behave(request, now, rng):
        takes, outcome = server(request, now, rng)
        return takes * (4 if now > 40 else 1), outcome

    night = simulate(1, behave, rows=30_000, concurrency=64, adapts=True)
    assert sorted(night.windows[-2000:])[1000] >= 48


def test_rate_limit_headers_of_an_answer_make_everybody_wait():
    starts = []

    async def upstream(request):
        starts.append(anyio.current_time())
        left = 9 - (len(starts) - 1) % 10
        headers = {"x-ratelimit-remaining-requests": str(left), "x-ratelimit-reset-requests": "1m0s"}
        await anyio.sleep(0.01)
        return Completion(200, headers, b"{}", 0.01)

    async def main():
        limiter = Limiter(InFlight(1), rng=random.Random(1))
        send = limited(upstream, limiter)
        for number in range(30):
            await send(Request(number, "m", (), b"", Price(1, 1)))

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    waits = [after - before for before, after in itertools.pairwise(starts)]
    assert [n for n, wait in enumerate(waits) if wait > 1] == [9, 19]
    assert waits[9] == pytest.approx(60, abs=0.1)


def test_a_limit_lowered_while_it_is_at_work_is_what_it_goes_back_to():
    gauge = Gauge(64)
    gauge.size = gauge.held = 64.0
    gauge._rate = 640.0
    gauge.resize(20)
    now = 0.0
    for _ in range(2_000):
        now += 0.1 / int(gauge.size)
        gauge.answered(now, int(gauge.size) - 1)
        assert gauge.size <= 20
    assert gauge.held is not None
    assert gauge.held >= 16
