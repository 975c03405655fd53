"""When the lead may be taken: each row of the table in `master.lead`."""

from __future__ import annotations

from master.lead import PATIENCE_S, READS, SILENCE_S, Candidate, Verdict
from storage.ledger import Lead

NOBODY = Lead("", 0, 0, "", "")


def beat(number: int, incarnation: str = "other") -> Lead:
    return Lead(incarnation, number, 1, "id", "m")


def test_a_lead_that_nobody_has_is_taken() -> None:
    assert Candidate().read(0, NOBODY) is Verdict.TAKE
    assert Candidate().read(0, Lead("", 0, 7, "id", "m")) is Verdict.TAKE


def test_what_this_process_led_last_is_taken_back_at_once() -> None:
    assert Candidate(frozenset({"mine", "earlier"})).read(0, beat(9, "mine")) is Verdict.TAKE


def test_a_beat_that_stands_still_long_enough_is_taken() -> None:
    candidate = Candidate()
    for at in (0.0, 0.4, SILENCE_S - 0.01):
        assert candidate.read(at, beat(5)) is Verdict.WAIT
    assert candidate.read(SILENCE_S, beat(5)) is Verdict.TAKE


def test_silence_is_nothing_without_enough_answers() -> None:
    candidate = Candidate()
    assert [candidate.read(at, beat(5)) for at in (0.0, 100.0)] == [Verdict.WAIT] * (READS - 1)
    assert candidate.read(100.1, beat(5)) is Verdict.TAKE


def test_a_beat_that_goes_on_starts_the_wait_anew() -> None:
    candidate = Candidate()
    verdicts = [candidate.read(step * 0.2, beat(step // 4)) for step in range(20)]
    assert set(verdicts) == {Verdict.WAIT}


def test_another_incarnation_with_the_same_beat_is_another_sign_of_life() -> None:
    candidate = Candidate()
    for at in (0.0, 0.5, 0.9):
        candidate.read(at, beat(1, "first"))
    assert candidate.read(1.1, beat(1, "second")) is Verdict.WAIT


def test_a_master_that_lives_is_given_up_on_after_patience_and_not_before() -> None:
    candidate = Candidate()
    verdicts = {at / 10: candidate.read(at / 10, beat(at)) for at in range(80)}
    first = min(at for at, verdict in verdicts.items() if verdict is Verdict.ANOTHER_LEADS)
    assert PATIENCE_S < first <= PATIENCE_S + 0.3
    assert Verdict.TAKE not in verdicts.values()


def test_a_master_that_lived_and_fell_silent_is_succeeded() -> None:
    candidate = Candidate()
    for at in range(30):
        candidate.read(at / 10, beat(at))
    verdicts = [candidate.read(3 + at / 10, beat(29)) for at in range(12)]
    assert verdicts[-1] is Verdict.TAKE
    assert Verdict.ANOTHER_LEADS not in verdicts


def test_one_that_gives_the_lead_back_while_it_is_watched_is_succeeded_at_once() -> None:
    candidate = Candidate()
    candidate.read(0, beat(1))
    assert candidate.read(0.1, NOBODY) is Verdict.TAKE
