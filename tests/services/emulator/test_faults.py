"""Faults: dealt by (seed, request, try), so that every run meets the same."""

from __future__ import annotations

import pytest

from protocol.errors import UsageError
from services.emulator.api.faults import KINDS, SLOW_S, Faults, parse_faults
from services.emulator.api.http_messages import Cut
from services.emulator.api.tally import Tally, identity_of
from tests.services.emulator.asking import WORLD, answer, service

EVERY = ",".join(f"{kind}=0.2" for kind in KINDS)
USERS = WORLD.ids(0, 60)


def test_two_runs_meet_the_same_faults_in_any_order() -> None:
    def run(order: list[int]) -> dict[tuple[int, int], tuple[int, bytes, float, Cut | None]]:
        asked = service(faults=EVERY, seed=5)
        met = {}
        for number in range(4):
            for user in order:
                got = answer(asked, "followers/ids", user_id=user)
                met[user, number] = (got.status, got.body, got.wait_s, got.cut)
        return met

    forward = run(USERS)
    assert forward == run(USERS[::-1])
    assert len(set(forward.values())) > len(USERS)


def test_another_seed_meets_other_faults() -> None:
    rates = parse_faults("http500=0.5")
    dealt = [[Faults(rates, seed).meet(f"a?{n}").kinds for n in range(50)] for seed in (1, 2)]
    assert dealt[0] != dealt[1]


def test_a_request_fares_differently_when_it_is_tried_again() -> None:
    faults = Faults(parse_faults("http500=0.5"), 1)
    assert {bool(faults.meet("followers/ids?user_id=1").kinds) for _ in range(40)} == {True, False}


def test_the_rate_is_the_share_of_requests() -> None:
    faults = Faults(parse_faults("reset=0.1"), 1)
    met = sum("reset" in faults.meet(f"a?{n}").kinds for n in range(20_000))
    assert met == pytest.approx(2000, rel=0.1)


def test_waits_lie_in_their_range_and_can_be_fixed() -> None:
    faults = Faults(parse_faults("slow=1"), 1)
    waits = [faults.meet(f"a?{n}").wait_s for n in range(200)]
    assert SLOW_S[0] <= min(waits) < max(waits) <= SLOW_S[1]
    assert Faults(parse_faults("slow=1,slow_s=0.05"), 1).meet("a").wait_s == 0.05


def test_a_short_page_holds_at_least_one_item_and_not_all() -> None:
    faults = Faults(parse_faults("short_page=1"), 1)
    for n in range(200):
        trial = faults.meet(f"a?{n}")
        assert 1 <= trial.shortened(10) < 10
        assert trial.shortened(1) == 1
        assert trial.shortened(0) == 0


def test_after_a_reset_the_same_faults_come_again() -> None:
    asked = service(faults="http500=0.5", seed=2)

    def run() -> list[int]:
        return [answer(asked, "users/show", user_id=user).status for user in USERS for _ in range(3)]

    before = run()
    asked.clear()
    assert run() == before
    assert asked.tally.total == len(before)


def test_an_identity_knows_nothing_of_credentials_or_order() -> None:
    one = identity_of("a/b", {"x": "1", "b": "2", "oauth_token": "t", "oauth_nonce": "n"})
    assert one == identity_of("a/b", {"b": "2", "x": "1"}) == "a/b?b=2&x=1"
    assert len(identity_of("users/lookup", {"user_id": "1," * 500})) < 250


def test_the_tally_counts_what_was_answered_in_full_and_again() -> None:
    asked = service()
    for user in (USERS[0], USERS[0], USERS[1]):
        answer(asked, "users/show", user_id=user)
    counts = asked.tally.requests()
    assert (counts["total"], counts["identities"], counts["answered_again"]) == (3, 2, 1)
    assert asked.tally.identities(2) == {f"users/show?user_id={USERS[0]}": {"asked": 2, "answered": 2}}


def test_a_cut_answer_does_not_count_as_full() -> None:
    asked = service(faults="truncate=1")
    answer(asked, "users/show", user_id=USERS[0])
    assert asked.tally.identities(0) == {f"users/show?user_id={USERS[0]}": {"asked": 1, "answered": 0}}


def test_the_tally_forgets_before_it_grows_without_bound() -> None:
    tally = Tally(remembered=10)
    for n in range(50):
        tally.count("a", f"who{n}", 200, f"a?{n}", full=True, faulted=False)
    counts = tally.requests()
    assert (counts["total"], counts["identities"], counts["identities_forgotten"]) == (50, 10, 40)


@pytest.mark.parametrize("text", ["http501=1", "reset", "reset=x", "reset=1.1", "slow=-0.1", "reset=nan", "slow_s=-1"])
def test_a_fault_that_makes_no_sense_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match=r"\.$"):
        parse_faults(text)
