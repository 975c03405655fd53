"""`--faults retry_after=SECONDS`: refusals say when to come back, and who comes sooner is counted."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from protocol.errors import UsageError
from services.emulator.api.faults import parse_faults
from tests.services.emulator.asking import NOON, WORLD, answer, service

USERS = WORLD.ids(0, 40)


def test_a_503_says_it_in_seconds_or_as_a_date() -> None:
    asked = service(faults="http503=1,retry_after=30")
    said = [answer(asked, "followers/ids", user_id=user).headers["Retry-After"] for user in USERS]
    dates = [one for one in said if one != "30"]
    assert 0 < len(dates) < len(said)
    assert {parsedate_to_datetime(one).timestamp() for one in dates} == {int(NOON) + 30}


def test_a_429_says_it_too_and_other_answers_do_not() -> None:
    asked = service(limits="F=1/10s", faults="retry_after=30")
    first, second = (answer(asked, "followers/ids", user_id=USERS[0]) for _ in range(2))
    assert (first.status, second.status) == (200, 429)
    assert ("Retry-After" in first.headers, second.headers["Retry-After"]) == (False, "30")


def test_without_it_a_refusal_does_not_say() -> None:
    asked = service(faults="http503=1")
    assert "Retry-After" not in answer(asked, "followers/ids", user_id=USERS[0]).headers


def test_who_comes_before_the_time_is_counted_each_time_and_who_comes_then_is_not() -> None:
    asked = service(faults="http503=1,retry_after=30")
    for after_s, sooner in ((0, 0), (29, 1), (59, 1), (88, 2)):
        answer(asked, "followers/ids", now=NOON + after_s, user_id=USERS[0])
        answer(asked, "followers/ids", now=NOON + after_s + 0.5, user_id=USERS[1]) if not after_s else None
        assert asked.tally.requests()["too_soon"] == sooner
    asked.clear()
    assert asked.tally.requests()["too_soon"] == 0


@pytest.mark.parametrize("seconds", ["0", "1.5", "-1", "86401", "nan", "inf"])
def test_a_time_that_no_header_can_say_is_refused(seconds: str) -> None:
    with pytest.raises(UsageError, match="retry_after is in whole seconds, 1 to 86400"):
        parse_faults(f"retry_after={seconds}")
