"""One attempt's bookkeeping: the order of its events, and what each of its ends costs."""

import errno
from contextlib import suppress

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from journeybatch import accounted as module
from journeybatch.accounted import accounted
from journeybatch.archive import mapped, read_history, received
from journeybatch.attempts import CHARGES
from journeybatch.entries import Began
from journeybatch.errors import ApiFailure, BudgetReached, DiskFull
from journeybatch.journal import open_journal
from journeybatch.ledger import Ledger
from journeybatch.records import Completion, Message, Price, Prompt, Reply, Request
from journeybatch.verdict import ERRORS

PRICE = Price(1, 5)
A, B = b"a" * 16, b"b" * 16
WHOLE = {"id": "x1", "model": "m-1", "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}


@pytest.fixture
def anyio_backend():
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def request(number=1, attempt=1, keys=(A,), price=PRICE):
    prompts = tuple(Prompt(key, (Message("user", "Is it?"),)) for key in keys)
    return Request(number, "m", prompts, b"{}", price, attempt)


def completion(body, status=200, headers=None):
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Completion(status, headers or {"content-type": "application/json"}, data, 0.5)


def says(**message):
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def answering(reply):
    async def send(_):
        return reply

    return send


def failing(error):
    async def send(_):
        raise error

    return send


class Books:
    """A journal on a disk of no extent, with a ledger; and what its file tells right now."""

    def __init__(self, directory, cap=100, sync=None):
        async def synced(_):
            self.syncs.append(self.path.stat().st_size)

        self.syncs = []
        self.path = directory / "journal"
        self.journal = open_journal(directory, sync or synced)
        self.journal.write(Began(1, "job", "{}", False, False, 1.0))
        self.ledger = Ledger(cap)

    def file(self):
        return read_history(self.path)

    def closed(self):
        """The history that the next process will read; it must be the one that lived here."""
        self.journal.close()
        history = self.file()
        assert [msgspec.structs.asdict(run) for run in history.runs] == [
            msgspec.structs.asdict(run) for run in self.journal.history.runs
        ]
        return history

    def agree(self, history):
        """Whether ledger and journal tell the same sums, with nothing left reserved."""
        run = history.run
        return (self.ledger.spent, self.ledger.unknown, self.ledger.reserved) == (run.spent, run.unknown, 0)


@pytest.fixture
def books(tmp_path):
    return Books(tmp_path)


def end_of(history, index=0):
    """How an attempt ended: (charge, credits, credits_max, error, status)."""
    a = history.attempts
    return CHARGES[a.charge[index]], a.credits[index], a.credits_max[index], a.error[index], a.status[index]


# -- the order ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_intent_is_on_the_disk_and_the_credits_are_reserved_before_anything_is_sent(books):
    async def send(sent):
        history = books.file()
        a = history.attempts
        assert (a.request[0], a.attempt[0], a.model[0], a.keys_of(0)) == (7, 2, "m", [A, B])
        assert (a.least[0], a.credits_max[0], end_of(history)[0]) == (1, 5, "unknown")
        assert books.syncs == [history.size]  # all of the file, and not only written
        assert books.ledger.reserved == 5
        assert (history.run.in_doubt, history.run.unknown) == (1, 5)
        return completion(WHOLE)

    await accounted(send, books.journal, books.ledger)(request(7, 2, (A, B)))
    assert books.agree(books.closed())


@pytest.mark.anyio
async def test_the_raw_reply_is_in_the_file_before_anybody_reads_it(books, monkeypatch):
    raw = completion(b'\xff{"odd": "bytes\\ud800"', headers={"content-type": "x", "date": "y"})
    judged = []

    def judge(reply, *, bills_errors):
        history = books.file()
        with mapped(books.path) as buffer:
            entry = received(buffer, history, 0)
        assert (entry.body, entry.headers, entry.status, entry.latency_s) == (raw.body, raw.headers, 200, 0.5)
        assert (entry.request, entry.attempt, entry.keys, entry.least, entry.most) == (1, 1, A, 1, 5)
        assert history.unjudged == [0]
        assert books.ledger.reserved == 5
        judged.append(bills_errors)
        return Reply("yes", None, "stop", None, None, None, None)

    monkeypatch.setattr(module, "judge", judge)
    await accounted(answering(raw), books.journal, books.ledger, bills_errors=True)(request())
    assert judged == [True]
    assert books.closed().unjudged == []


@pytest.mark.anyio
async def test_a_completion_comes_back_with_what_it_says(books):
    done = await accounted(answering(completion(WHOLE)), books.journal, books.ledger)(request())
    assert done.reply == Reply("yes", None, "stop", "x1", "m-1", None, None)
    assert (done.status, done.body) == (200, msgspec.json.encode(WHOLE))


@pytest.mark.anyio
async def test_every_attempt_of_a_request_has_an_entry_of_its_own(books):
    send = accounted(failing(ApiFailure("lost", "reset", charge="unknown", then="retry")), books.journal, books.ledger)
    for attempt in (1, 2, 3):
        with pytest.raises(ApiFailure):
            await send(request(attempt=attempt))
    history = books.closed()
    assert list(history.attempts.attempt) == [1, 2, 3]
    assert list(history.attempts.latency_s) == [0.0] * 3  # no reply, no time that it took
    assert (history.run.sent, history.run.retried, history.run.in_doubt, history.run.unknown) == (3, 2, 3, 15)
    assert books.agree(history)


# -- every end ------------------------------------------------------------------------------------------------

WHOLE_ONES = {
    "an answer": (WHOLE, None),
    "a truncated answer": ({"choices": [{"message": {"content": "ye"}, "finish_reason": "length"}]}, None),
    "a filtered answer": ({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}, None),
    "an empty answer": (says(content=""), None),
    "a null answer": (says(content=None), None),
    "a refusal": (says(content=None, refusal="I'd rather not."), "refusal"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize("name", WHOLE_ONES)
async def test_a_whole_completion_is_settled_whatever_it_says(books, name, bills_errors):
    body, error = WHOLE_ONES[name]
    done = await accounted(answering(completion(body)), books.journal, books.ledger, bills_errors=bills_errors)(
        request()
    )
    history = books.closed()
    assert end_of(history) == ("settled", 1, 5, error, 200)
    assert (history.run.spent, history.run.unknown, history.run.in_doubt) == (1, 4, 0)
    assert books.agree(history)
    assert [ERRORS.get(verdict.code) for verdict in done.verdicts] == [error]


BROKEN_ONES = {
    "cut": b'{"choices": [{"message": {"con',
    "not JSON": b"yes",
    "HTML": b"<html>busy</html>",
    "no choices": b'{"choices": []}',
    "empty": b"",
    "an error object": b'{"error": {"message": "overloaded"}}',
    "a stream without its end": b'data: {"choices": [{"delta": {"content": "ye"}}]}\n\n',
    "deep": b"[" * 100_000,
}


@pytest.mark.anyio
@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize("body", BROKEN_ONES.values(), ids=BROKEN_ONES)
async def test_a_200_that_is_no_whole_completion_is_in_doubt_and_its_reply_is_kept(books, body, bills_errors):
    with pytest.raises(ApiFailure) as failure:
        await accounted(answering(completion(body)), books.journal, books.ledger, bills_errors=bills_errors)(request())
    assert (failure.value.charge, failure.value.then) == ("unknown", "retry")
    history = books.closed()
    assert end_of(history) == ("unknown", 0, 5, failure.value.kind, 200)
    assert history.attempts.message[0] == str(failure.value)
    assert history.attempts.offset[0] >= 0
    assert books.agree(history)


STATUSES = [
    *((status, "free", "pause") for status in (429, 503, 529)),
    *((status, "free", "stop") for status in (401, 402, 403, 404, 301)),
    *((status, "free", "reject") for status in (400, 413, 422)),
    *((status, "unknown", "retry") for status in (408, 409, 500, 502, 504)),
]


@pytest.mark.anyio
@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize(("status", "charge", "then"), STATUSES)
async def test_a_refused_attempt_costs_what_the_table_says(books, status, charge, then, bills_errors):
    refused = completion({"error": {"message": "no"}}, status)
    with pytest.raises(ApiFailure) as failure:
        await accounted(answering(refused), books.journal, books.ledger, bills_errors=bills_errors)(request())
    charge = "unknown" if bills_errors else charge
    assert (failure.value.charge, failure.value.then) == (charge, then)
    history = books.closed()
    assert end_of(history) == (charge, 0, 0 if charge == "free" else 5, failure.value.kind, status)
    assert history.run.in_doubt == (charge == "unknown")
    assert books.agree(history)


@pytest.mark.anyio
@pytest.mark.parametrize("bills_errors", [False, True])
@pytest.mark.parametrize("charge", ["free", "unknown"])
async def test_an_attempt_without_a_reply_costs_what_its_failure_says(books, charge, bills_errors):
    failure = ApiFailure("lost", "the connection broke off", charge=charge, then="retry")
    with pytest.raises(ApiFailure) as raised:
        await accounted(failing(failure), books.journal, books.ledger, bills_errors=bills_errors)(request())
    assert raised.value is failure
    history = books.closed()
    assert end_of(history) == (charge, 0, 0 if charge == "free" else 5, "lost", 0)
    assert history.attempts.message[0] == "the connection broke off"
    assert books.agree(history)


@pytest.mark.anyio
async def test_a_failure_in_words_that_cannot_be_written_is_settled_all_the_same(books):
    failure = ApiFailure("lost", "half a pair: \ud800", charge="unknown", then="retry")
    with pytest.raises(ApiFailure):
        await accounted(failing(failure), books.journal, books.ledger)(request())
    assert books.agree(books.closed())


# -- stops ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_reached_cap_leaves_no_trace_and_sends_nothing(tmp_path):
    books = Books(tmp_path, cap=4)
    sent = []

    async def send(request):
        sent.append(request)

    with pytest.raises(BudgetReached):
        await accounted(send, books.journal, books.ledger)(request())
    assert sent == []
    assert len(books.closed().attempts) == 0
    assert books.ledger.reserved == 0


@pytest.mark.anyio
async def test_cancelling_what_is_under_way_leaves_it_in_doubt(books):
    async def send(_):
        await anyio.sleep(10)

    with anyio.move_on_after(1) as scope:
        await accounted(send, books.journal, books.ledger)(request())
    assert scope.cancelled_caught
    history = books.closed()
    assert end_of(history) == ("unknown", 0, 5, "in_doubt", 0)
    assert history.run.in_doubt == 1
    assert books.agree(history)


@pytest.mark.anyio
async def test_cancelling_what_waits_for_the_disk_costs_nothing(tmp_path):
    sent = []

    async def slow(_):
        await anyio.sleep(10)

    async def send(request):
        sent.append(request)

    books = Books(tmp_path, sync=slow)
    with anyio.move_on_after(1) as scope:
        await accounted(send, books.journal, books.ledger)(request(attempt=2))
    assert scope.cancelled_caught
    assert sent == []
    history = books.closed()
    assert end_of(history) == ("free", 0, 0, "unsent", 0)
    assert (history.run.sent, history.run.retried, history.run.in_doubt) == (0, 0, 0)
    assert books.agree(history)


@pytest.mark.anyio
async def test_cancelling_what_waits_for_credits_leaves_no_trace(tmp_path):
    books = Books(tmp_path, cap=5)

    async def send(_):
        await anyio.sleep(10)
        return completion(WHOLE)

    attempt = accounted(send, books.journal, books.ledger)
    async with anyio.create_task_group() as group:
        group.start_soon(attempt, request(1))
        await anyio.sleep(1)
        with anyio.move_on_after(1) as scope:
            await attempt(request(2))
        assert scope.cancelled_caught
    history = books.closed()
    assert list(history.attempts.request) == [1]
    assert books.agree(history)


@pytest.mark.anyio
async def test_a_disk_that_fails_before_sending_sends_nothing_and_costs_nothing(tmp_path):
    async def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    sent = []

    async def send(request):
        sent.append(request)

    books = Books(tmp_path, sync=fail)
    attempt = accounted(send, books.journal, books.ledger)
    for number in (1, 2):
        with pytest.raises(DiskFull, match="No space left"):
            await attempt(request(number))
    assert sent == []
    history = books.closed()
    assert [end_of(history, index) for index in (0, 1)] == [("free", 0, 0, "unsent", 0)] * 2
    assert history.run.sent == 0
    assert books.agree(history)


@pytest.mark.anyio
async def test_a_reply_that_comes_after_the_disk_failed_is_still_kept(books):
    async def send(_):
        books.journal._fail(OSError(errno.EIO, "Input/output error"))
        return completion(WHOLE)

    attempt = accounted(send, books.journal, books.ledger)
    done = await attempt(request(1))
    assert done.reply.text == "yes"
    with pytest.raises(DiskFull):
        await attempt(request(2))
    history = books.closed()
    assert end_of(history) == ("settled", 1, 5, None, 200)
    assert books.agree(history)


@pytest.mark.anyio
async def test_an_attempt_that_found_no_descriptor_for_a_connection_costs_nothing(books):
    with pytest.raises(DiskFull):
        await accounted(failing(DiskFull("out of file descriptors")), books.journal, books.ledger)(request())
    history = books.closed()
    assert end_of(history) == ("free", 0, 0, "unsent", 0)
    assert books.agree(history)


class Bug(BaseException):
    """Something nobody foresaw."""


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RuntimeError("bug"), MemoryError(), KeyboardInterrupt(), Bug(), OSError(5, "x")])
async def test_an_error_of_any_kind_while_sending_leaves_a_doubt_and_no_reservation(books, error):
    with pytest.raises(type(error)):
        await accounted(failing(error), books.journal, books.ledger)(request())
    history = books.closed()
    assert end_of(history)[:4] == ("unknown", 0, 5, "in_doubt")
    assert books.agree(history)


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RuntimeError("bug"), RecursionError(), Bug()])
async def test_a_parser_that_breaks_costs_no_reply_and_leaves_no_reservation(books, monkeypatch, error):
    def judge(*_, **__):
        raise error

    monkeypatch.setattr(module, "judge", judge)
    with pytest.raises(type(error)):
        await accounted(answering(completion(WHOLE)), books.journal, books.ledger)(request())
    history = books.closed()
    assert history.unjudged == [0]  # the next process reads it again
    assert end_of(history)[:3] == ("unknown", 0, 5)
    assert books.agree(history)


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["append", "write"])
async def test_a_journal_that_breaks_in_an_unforeseen_way_leaves_no_reservation(books, monkeypatch, call):
    calls = []
    whole = getattr(books.journal, call)

    def breaks_once(entry):
        calls.append(entry)
        if len(calls) == 1:
            raise RuntimeError("bug")
        return whole(entry)

    monkeypatch.setattr(books.journal, call, breaks_once)
    with pytest.raises(RuntimeError):
        await accounted(answering(completion(WHOLE)), books.journal, books.ledger)(request())
    assert books.ledger.reserved == 0
    assert books.agree(books.closed())


# -- a law ----------------------------------------------------------------------------------------------------

ends = st.sampled_from(
    [
        completion(WHOLE),
        completion(says(refusal="no")),
        completion(b"cut"),
        completion({"error": {}}, 400),
        completion({"error": {}}, 500),
        ApiFailure("lost", "reset", charge="unknown", then="retry"),
        ApiFailure("connection", "refused", charge="free", then="retry"),
        DiskFull("no descriptor"),
        RuntimeError("bug"),
        None,  # it takes too long, and is cancelled
    ]
)
prices = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda ends: Price(min(ends), max(ends)))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(ends, prices, st.integers(0, 3)), max_size=25),
    st.integers(1, 6),
    st.none() | st.integers(0, 30),
    st.booleans(),
    st.none() | st.integers(1, 20),
)
def test_journal_and_ledger_agree_after_any_attempts_in_any_order(
    tmp_path_factory, attempts, lanes, cap, bills_errors, breaks_at
):
    syncs = []

    async def sync(_):
        syncs.append(1)
        await anyio.sleep(0.25)
        if len(syncs) == breaks_at:
            raise OSError(errno.EIO, "Input/output error")

    books = Books(tmp_path_factory.mktemp("law"), cap, sync)
    sent = []

    async def send(asked):
        sent.append(asked.id)
        end, _, seconds = attempts[asked.id]
        await anyio.sleep(seconds)
        if end is None:
            await anyio.sleep_forever()
        if isinstance(end, Exception):
            raise end
        return end

    attempt = accounted(send, books.journal, books.ledger, bills_errors=bills_errors)
    requests = iter(request(n, price=price) for n, (_, price, _) in enumerate(attempts))

    async def lane():
        for asked in requests:
            with anyio.move_on_after(20):
                with suppress(ApiFailure, DiskFull, BudgetReached, RuntimeError):
                    await attempt(asked)

    async def run():
        async with anyio.create_task_group() as group:
            for _ in range(lanes):
                group.start_soon(lane)

    anyio.run(run, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    history = books.closed()
    a = history.attempts
    assert books.agree(history)
    assert cap is None or books.ledger.spent + books.ledger.unknown <= cap
    unsent = {a.request[i] for i in range(len(a)) if a.error[i] == "unsent"}
    assert {a.request[i] for i in range(len(a))} == set(sent) | unsent  # every attempt that was sent has its intent
    for i in range(len(a)):
        end, price, _ = attempts[a.request[i]]
        whole = isinstance(end, Completion) and end.status == 200 and end.body != b"cut"
        if a.request[i] in sent and whole:
            assert end_of(history, i)[:3] == ("settled", price.least, price.most)
