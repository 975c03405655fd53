"""What a crawl that is done leaves behind is written once in a leadership, and again where the ledger failed."""

from __future__ import annotations

import pytest

from master.finishing import Finishing
from protocol.errors import LedgerError
from tests.waiting import until

WITHIN_S = 60.0


def test_it_is_written_once_in_a_leadership_and_anew_in_the_next() -> None:
    written: list[int] = []
    finishing, first, second = Finishing(lambda: written.append(len(written))), object(), object()
    assert not finishing.look(first)
    until(lambda: finishing.look(first), WITHIN_S)
    assert finishing.look(first) and written == [0]
    until(lambda: finishing.look(second), WITHIN_S)
    assert written == [0, 1]


def test_a_ledger_that_failed_is_told_and_the_next_look_begins_again() -> None:
    faults: list[Exception] = [LedgerError("away")]

    def write() -> None:
        if faults:
            raise faults.pop()

    finishing, leadership = Finishing(write), object()
    with pytest.raises(LedgerError, match="away"):
        until(lambda: finishing.look(leadership), WITHIN_S)
    until(lambda: finishing.look(leadership), WITHIN_S)


def test_any_other_error_is_raised_at_each_look() -> None:
    def write() -> None:
        raise OSError("disk")

    finishing, leadership = Finishing(write), object()
    for _ in range(2):
        with pytest.raises(OSError, match="disk"):
            until(lambda: finishing.look(leadership), WITHIN_S)
