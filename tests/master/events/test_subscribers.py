"""How long a master that is done stays for those who read the log."""

from __future__ import annotations

from master.events.subscribers import ALIVE_S, PATIENCE_S, UNHEARD_S, WAITED_FOR_S, Readers
from protocol.messages import Passed


def test_one_that_comes_further_or_lives_is_waited_for_and_one_that_stands_still_is_not() -> None:
    readers = Readers({})
    assert readers.waited_for(0.0, 100) == []
    readers.heard(0.0, Passed("index", "L", 10))
    assert readers.waited_for(0.0, 100) == ["index"]
    assert readers.waited_for(WAITED_FOR_S - 0.1, 100) == ["index"]
    assert readers.waited_for(WAITED_FOR_S, 100) == []
    readers.heard(WAITED_FOR_S, Passed("index", "L", 20))
    assert readers.waited_for(WAITED_FOR_S, 100) == ["index"]
    at = WAITED_FOR_S
    while at < PATIENCE_S:  # it says the same, again and again: it is at work
        assert readers.waited_for(at, 100) == ["index"]
        at += ALIVE_S / 2
        readers.heard(at, Passed("index", "L", 20))
    assert readers.waited_for(at + WAITED_FOR_S, 100) == []
    readers.heard(at, Passed("index", "L", 100))
    assert readers.waited_for(at, 100) == []


def test_one_that_was_never_heard_is_waited_for_a_little() -> None:
    readers = Readers({"index": 10})
    assert readers.waited_for(0.0, 100) == ["index"]
    assert readers.waited_for(UNHEARD_S - 0.1, 100) == ["index"]
    assert readers.waited_for(UNHEARD_S, 100) == []
