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
    allowance = RequestAllowance(2)
    allowance.spend()
    allowance.spend()
    with pytest.raises(GrantEmptyError):
        allowance.spend()
    allowance.commit(3)
    allowance.spend()
    with pytest.raises(GrantEmptyError):
        allowance.spend()


def test_a_grant_never_shrinks() -> None:
    allowance = RequestAllowance(3)
    allowance.commit(1)
    for _ in range(3):
        allowance.spend()


def test_a_request_counts_as_spent_when_it_or_a_later_one_was_answered() -> None:
    allowance = RequestAllowance(3)
    allowance.spend()
    assert allowance.spent == 0
    allowance.answered()
    assert allowance.spent == 1
    allowance.spend()
    allowance.spend()
    assert allowance.spent == 1
    allowance.answered()
    assert allowance.spent == 3


def test_many_threads_together_spend_exactly_the_grant() -> None:
    allowance = RequestAllowance(1000)
    spent = []

    def spend() -> None:
        while True:
            allowance.spend()
            spent.append(1)

    threads = [in_thread(spend) for _ in range(8)]
    for thread, ended in threads:
        thread.join(WITHIN_S)
        assert ended == [GrantEmptyError]
    assert len(spent) == 1000


def test_without_a_leader_a_thread_waits_and_goes_on_when_there_is_one() -> None:
    led = threading.Event()
    allowance = RequestAllowance(1, led.is_set)
    thread, ended = in_thread(allowance.spend)
    thread.join(0.05)
    assert thread.is_alive()
    led.set()
    thread.join(WITHIN_S)
    assert ended == [None]


@pytest.mark.parametrize(
    "wait", [RequestAllowance.spend, RequestAllowance.wait_for_commit, lambda allowance: allowance.pause(60)]
)
def test_a_thread_that_waits_is_stopped_at_once(wait: Callable[[RequestAllowance], None]) -> None:
    allowance = RequestAllowance(1, lambda: False)
    thread, ended = in_thread(lambda: wait(allowance))
    allowance.stop()
    thread.join(WITHIN_S)
    assert ended == [StoppedError]


def test_a_worker_that_leaves_rests_no_longer_and_asks_no_more() -> None:
    allowance = RequestAllowance(5)
    thread, ended = in_thread(lambda: allowance.pause(60))
    allowance.leave()
    thread.join(WITHIN_S)
    assert ended == [None]
    with pytest.raises(GrantEmptyError):
        allowance.spend()


def test_a_commit_wakes_the_thread_that_waits_for_it_once() -> None:
    allowance = RequestAllowance(1)
    thread, ended = in_thread(allowance.wait_for_commit)
    allowance.commit(1)
    thread.join(WITHIN_S)
    assert ended == [None]
    again, _ = in_thread(allowance.wait_for_commit)
    again.join(0.05)
    assert again.is_alive()
    allowance.stop()
    until(lambda: not again.is_alive(), WITHIN_S)
