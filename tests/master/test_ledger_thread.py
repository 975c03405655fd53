"""The thread that talks to the ledger: one question after the other, and none behind one that failed."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from master.ledger_thread import BugError, LedgerThread
from protocol.errors import FencedError, LedgerError
from tests.waiting import until

WITHIN_S = 60.0


@pytest.fixture
def thread() -> Iterator[LedgerThread]:
    thread = LedgerThread()
    yield thread
    thread.close(WITHIN_S)


def fails() -> None:
    raise FencedError("another leads")


def taken(thread: LedgerThread, into: list[Any]) -> None:
    """Take one answer, once the descriptor says that there is one; an error is put into the list as it is."""
    assert select.select([thread.fileno()], [], [], WITHIN_S)[0]
    try:
        taker, answer = thread.answer()
    except LedgerError as error:
        into.append(str(error))
    else:
        taker(answer)


def test_the_second_question_is_asked_before_the_first_answer_is_taken_and_each_answer_wakes(
    thread: LedgerThread,
) -> None:
    said: list[Any] = []
    asked = threading.Event()
    thread.ask(lambda: 1, said.append)
    thread.ask(asked.set, said.append)
    assert asked.wait(WITHIN_S)
    assert thread.busy and not said
    taken(thread, said)
    assert said == [1]
    taken(thread, said)
    assert said == [1, None]
    assert not select.select([thread.fileno()], [], [], 0)[0]


def test_what_was_put_behind_a_question_that_fails_is_not_asked_and_what_comes_after_is(thread: LedgerThread) -> None:
    said: list[Any] = []
    thread.ask(fails, said.append)
    thread.ask(lambda: said.append("asked"), said.append)
    until(lambda: select.select([thread.fileno()], [], [], 0)[0], WITHIN_S)
    taken(thread, said)
    taken(thread, said)
    assert said == ["another leads"] * 2 and not thread.busy
    thread.ask(lambda: "well again", said.append)
    taken(thread, said)
    assert said[2:] == ["well again"]


def test_a_mistake_in_the_program_reaches_the_loop(thread: LedgerThread) -> None:
    thread.ask(lambda: 1 // 0, print)
    assert select.select([thread.fileno()], [], [], WITHIN_S)[0]
    with pytest.raises(BugError) as raised:
        thread.answer()
    assert isinstance(raised.value.error, ZeroDivisionError)
