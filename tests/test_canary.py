"""The first request, and rows rejected alike."""

from journeybatch.canary import Canary, Rejections
from journeybatch.errors import ApiFailure, Outage, WrongEndpoint


def rejection(status=400, kind="rejected"):
    return ApiFailure(kind, f"HTTP {status}", charge="free", then="reject", status=status)


def test_the_others_wait_while_the_first_is_under_way():
    canary = Canary()
    assert not canary.flying
    canary.fly(1)
    assert canary.flying
    canary.landed = True
    canary.fly(2)
    assert not canary.flying


def test_a_cancelled_canary_is_replaced_by_the_next():
    canary = Canary()
    canary.fly(1)
    canary.lost(1)
    assert not canary.flying
    canary.fly(2)
    canary.lost(1)
    assert canary.flying


def foreign():
    failure = ApiFailure("malformed", "a web page", charge="unknown", then="retry", status=200)
    failure.foreign = True
    return failure


def test_the_third_reply_of_another_kind_of_server_stops_the_run_and_quotes_it():
    canary = Canary()
    for stamp in (1, 2):
        canary.fly(stamp)
        assert canary.failed(foreign(), unsent=False) is None
        assert not canary.landed and not canary.flying, "the next one goes alone, too"
    canary.fly(3)
    stop = canary.failed(foreign(), unsent=False)
    assert isinstance(stop, WrongEndpoint) and "a web page" in str(stop)


def test_any_other_failure_lets_the_others_follow_but_for_one_that_was_not_sent():
    canary = Canary()
    assert isinstance(canary.failed(foreign(), unsent=True), Outage)
    assert canary.failed(rejection(500, "server_error"), unsent=False) is None
    assert canary.landed


def test_the_twentieth_rejection_of_a_kind_in_a_row_stops_the_run_and_quotes_it():
    rejections = Rejections()
    answers = [rejections.another(rejection()) for _ in range(20)]
    assert answers[:19] == [None] * 19
    assert "HTTP 400" in str(answers[19])


def test_another_kind_or_a_success_begins_the_count_anew():
    rejections = Rejections()
    for _ in range(3):
        assert not any(rejections.another(rejection()) for _ in range(19))
        rejections.another(rejection(413))
    assert not any(rejections.another(rejection()) for _ in range(19))
    rejections.clear()
    assert not any(rejections.another(rejection()) for _ in range(19))
