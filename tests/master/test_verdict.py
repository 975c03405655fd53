"""How a crawl ended: the exit code, and the words of the last line."""

from __future__ import annotations

from pathlib import Path

import pytest

from master.verdict import MAX_REASON_LENGTH, MAX_REASONS, verdict_of
from protocol.cli import LETTERS, NOTHING_GOT, OVER
from protocol.jobs import Job, Operation, Outcome
from protocol.settings.settings import Settings


def letters(operation: Operation, *reasons: str) -> list[tuple[Job, str]]:
    return [(Job(operation, str(number)), words) for number, words in enumerate(reasons, 10)]


def test_the_codes_are_those_of_nothing_else() -> None:
    assert not {1, 2, 130, 143, 129, 141} & OVER
    assert len({0, LETTERS, NOTHING_GOT}) == len(OVER) == 3


def test_a_crawl_without_letters_is_done_even_where_nothing_was_new() -> None:
    assert verdict_of({}, ()).code == 0
    assert verdict_of({"U.complete": 0}, ()).code == 0


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.NO_LIST])
def test_an_outcome_is_something_that_was_got(outcome: Outcome) -> None:
    assert verdict_of({f"F.{outcome.value}": 1}, letters(Operation.TIMELINE, "no")).code == LETTERS


@pytest.mark.parametrize(
    ("totals", "operation", "code"),
    [
        ({}, Operation.TIMELINE, NOTHING_GOT),
        ({"A.no-list": 7, "A.done": 7}, Operation.FOLLOWER, NOTHING_GOT),  # what follows a list that never came
        ({"T.steps": 1}, Operation.TIMELINE, LETTERS),
        ({"T.complete": 5}, Operation.UPDATE, NOTHING_GOT),
        ({"T.complete": 5, "U.complete": 1}, Operation.UPDATE, LETTERS),
    ],
)
def test_nothing_got_is_said_of_the_kind_of_jobs_that_failed(
    totals: dict[str, int], operation: Operation, code: int
) -> None:
    assert verdict_of(totals, letters(operation, "no connection")).code == code


def test_the_commonest_reason_is_found_whatever_ids_are_in_it() -> None:
    reasons = ["cursor 123456789 is refused", "the service answers 401", "cursor 987654321 is refused"]
    verdict = verdict_of({"T.complete": 1}, letters(Operation.TIMELINE, *reasons))
    assert verdict.reason == reasons[0] and (verdict.letters, verdict.alike) == (3, 2)
    assert "3 jobs failed for good; the commonest reason 2 times: cursor" in verdict.words(Settings())


def test_reasons_are_bounded_in_length_and_number_and_are_one_line() -> None:
    odd = "x\n\x1b[2J" + "y" * 10_000
    said = verdict_of({}, letters(Operation.TIMELINE, odd)).words(Settings())
    assert said.isprintable() and len(said) < MAX_REASON_LENGTH + 300
    many = [f"reason {letter}{n}" for n in range(MAX_REASONS) for letter in "ab"]
    assert verdict_of({}, letters(Operation.TIMELINE, *many)).letters == 2 * MAX_REASONS


def test_the_commands_are_whole_and_a_password_is_in_none() -> None:
    settings = Settings(output_directory=Path("my data"), crawl="second", redis="redis://ledger:7000/1")
    said = verdict_of({}, letters(Operation.TIMELINE, "no")).words(settings)
    where = "--output 'my data' --crawl second --redis redis://ledger:7000/1"
    assert f"`tmatic-master dead {where}`" in said and f"`tmatic-master requeue --all {where}`" in said


@pytest.mark.parametrize("operation", [Operation.TIMELINE, Operation.UPDATE])
def test_updates_are_tried_again_by_a_start_that_begins_no_new_round(operation: Operation) -> None:
    said = verdict_of({}, letters(operation, "no")).words(Settings())
    begins_none = "`, and then the same start again, without -U and its targets, tries them again"
    assert (begins_none in said) == (operation is Operation.UPDATE)
    assert ("the same start again, tries them again" in said) == (operation is not Operation.UPDATE)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hidden@ledger:7000/1",
        "redis://:hid/hidden@ledger",
        "unix:///run/v.sock?password=hidden",
        "rediss://ledger:7000/1?db=3&password=hidden",
        "redis+sentinel://me:x@a:1,b:2/main?sentinel_password=hidden",
    ],
)
def test_a_password_is_in_no_command(url: str) -> None:
    said = verdict_of({}, letters(Operation.TIMELINE, "no")).words(Settings(redis=url))
    assert "hidden" not in said and "`TMATIC_REDIS=… tmatic-master dead --output data`" in said
