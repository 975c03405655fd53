"""What is told of a ledger that does not serve: at once, then each ten seconds, and that it is over when it is."""

from __future__ import annotations

from dataclasses import replace

from master.ledger_health import STEADY_S, WELL_AGAIN, Health, HealthMessages
from protocol.repeated_warnings import AGAIN_S, MAX_AT_ONCE, RepeatedWarnings
from storage.ledger.ledger import Lead

READ_ONLY = "the ledger's server is a read-only replica"
MASTER_TRIES_S = 0.5
LED = Lead("mine", 7, 1, "id", "host:8000")


def told_while(
    seconds: float, health: Health, health_messages: HealthMessages, *, from_s: float = 0.0
) -> list[tuple[float, str]]:
    """What a master says that looks, and then fails to take the lead, twice a second."""
    said = []
    for number in range(int(seconds / MASTER_TRIES_S)):
        now = from_s + number * MASTER_TRIES_S
        health.answered(now, LED)
        said.append((now, health_messages.look(now, health.trouble)))
        health.failed(READ_ONLY, write=True)
        said.append((now, health_messages.look(now, health.trouble)))
    return [(now, words) for now, words in said if words]


def test_a_ledger_that_reads_and_does_not_write_is_told_once_in_ten_seconds() -> None:
    assert told_while(25, Health(), HealthMessages()) == [
        (0, READ_ONLY),
        (AGAIN_S, READ_ONLY),
        (2 * AGAIN_S, READ_ONLY),
    ]


def test_a_write_that_is_answered_ends_it_and_that_is_told_once_when_it_lasts() -> None:
    health, health_messages = Health(), HealthMessages()
    told_while(3, health, health_messages)
    said = []
    for now in (3.0, 3.0 + STEADY_S / 2, 3.0 + STEADY_S, 10.0):
        health.answered(now, None)
        said.append(health_messages.look(now, health.trouble))
    assert said == ["", "", WELL_AGAIN, ""]
    assert told_while(1, health, health_messages, from_s=11.0) == [(11.0, READ_ONLY)], "it is news again"


def test_a_lead_that_another_master_moves_ends_it_too() -> None:
    health = Health()
    health.failed(READ_ONLY, write=True)
    for beat in (1, 1):
        health.answered(1.0, replace(LED, beat=beat))
        assert health.trouble == READ_ONLY
    health.answered(2.0, replace(LED, beat=2))
    assert not health.trouble


def test_trouble_of_a_look_ends_with_the_next_look() -> None:
    health = Health()
    health.failed("the ledger's server does not answer", write=False)
    assert health.trouble
    health.answered(1.0, LED)
    assert not health.trouble


def test_words_that_differ_each_time_are_told_so_often_and_no_more() -> None:
    complaints = RepeatedWarnings()
    told = [number for number in range(1000) if complaints.is_news(0.0, f"port {number} is away")]
    assert told == list(range(MAX_AT_ONCE))
    assert complaints.is_news(AGAIN_S, "port 5 is away")


def test_two_kinds_of_trouble_that_take_turns_are_each_told_once() -> None:
    complaints = RepeatedWarnings()
    told = [words for number in range(10) if complaints.is_news(number / 2, words := ("away", "full")[number % 2])]
    assert told == ["away", "full"]
