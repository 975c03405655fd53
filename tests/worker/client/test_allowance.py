"""The meter: no request beyond the grant, whatever the threads do."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.waiting import until
from worker.client.allowance import GrantEmptyError, RequestAllowance, StoppedError

WITHIN_S = 60.0


def in_thread(function: Callable[[], None]) -> tuple[threading.Thread, list[type[BaseException] | None]]:
    """Run it beside the test; the list gets what it raised, or None."""
    ended: list[type[BaseException] | None] = []

    def run() -> None:
        try:
            function()
        except (GrantEmptyError, StoppedError) as error:
            ended.append(type(error))
        else:
            ended.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, ended


def test_no_more_is_spent_than_granted() -> None:
    meter = RequestAllowance(2)
    meter.spend()
    meter.spend()
    with pytest.raises(GrantEmptyError):
        meter.spend()
    meter.commit(3)
    meter.spend()
    with pytest.raises(GrantEmptyError):
        meter.spend()


def test_a_grant_never_shrinks() -> None:
    meter = RequestAllowance(3)
    meter.commit(1)
    for _ in range(3):
        meter.spend()


def test_a_request_counts_as_spent_when_it_or_a_later_one_was_answered() -> None:
    meter = RequestAllowance(3)
    meter.spend()
    assert meter.spent == 0
    meter.answered()
    assert meter.spent == 1
    meter.spend()
    meter.spend()
    assert meter.spent == 1
    meter.answered()
    assert meter.spent == 3


def test_many_threads_together_spend_exactly_the_grant() -> None:
    meter = RequestAllowance(1000)
    spent = []

    def spend() -> None:
        while True:
            meter.spend()
            spent.append(1)

    threads = [in_thread(spend) for _ in range(8)]
    for thread, ended in threads:
        thread.join(WITHIN_S)
        assert ended == [GrantEmptyError]
    assert len(spent) == 1000


def test_without_a_leader_a_thread_waits_and_goes_on_when_there_is_one() -> None:
    led = threading.Event()
    meter = RequestAllowance(1, led.is_set)
    thread, ended = in_thread(meter.spend)
    thread.join(0.05)
    assert thread.is_alive()
    led.set()
    thread.join(WITHIN_S)
    assert ended == [None]


@pytest.mark.parametrize(
    "wait", [RequestAllowance.spend, RequestAllowance.wait_for_commit, lambda meter: meter.pause(60)]
)
def test_a_thread_that_waits_is_stopped_at_once(wait: Callable[[RequestAllowance], None]) -> None:
    meter = RequestAllowance(1, lambda: False)
    thread, ended = in_thread(lambda: wait(meter))
    meter.stop()
    thread.join(WITHIN_S)
    assert ended == [StoppedError]


def test_a_worker_that_leaves_rests_no_longer_and_asks_no_more() -> None:
    meter = RequestAllowance(5)
    thread, ended = in_thread(lambda: meter.pause(60))
    meter.leave()
    thread.join(WITHIN_S)
    assert ended == [None]
    with pytest.raises(GrantEmptyError):
        meter.spend()


def test_a_commit_wakes_the_thread_that_waits_for_it_once() -> None:
    meter = RequestAllowance(1)
    thread, ended = in_thread(meter.wait_for_commit)
    meter.commit(1)
    thread.join(WITHIN_S)
    assert ended == [None]
    again, _ = in_thread(meter.wait_for_commit)
    again.join(0.05)
    assert again.is_alive()
    meter.stop()
    until(lambda: not again.is_alive(), WITHIN_S)
