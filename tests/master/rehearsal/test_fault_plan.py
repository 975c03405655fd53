"""The plan of a fire drill: what is understood, what is refused and how, and what chance makes of a seed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from master.rehearsal.fault_plan import (
    FOR_S,
    MAX_TIME_S,
    MIN_RANDOM_S,
    SETTLE_S,
    VICTIMS,
    Fault,
    FaultKind,
    FaultTarget,
    SetUp,
    check,
    length_of,
    pages_allowed,
    parse,
    random_plan,
    seconds,
)
from protocol.errors import UsageError

PAIR = SetUp(workers=4, pair=True)
SINGLE = SetUp(workers=4, pair=False)
OWN_SERVER = SetUp(workers=4, pair=True, embedded=False)
TLS_SERVER = SetUp(workers=4, pair=True, embedded=False, relayed=False)

SET_UPS = st.builds(
    lambda workers, pair, embedded, relayed: SetUp(workers, pair, embedded, embedded or relayed),
    st.integers(1, 50),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
MILLISECONDS = st.integers(1, 10_000_000).map(lambda count: count / 1000)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from(FaultKind))
    target = draw(st.sampled_from(VICTIMS[kind]))
    numbered = target in (FaultTarget.MASTER, FaultTarget.WORKER) or (
        target is FaultTarget.REDIS and kind is FaultKind.CUT
    )
    number = draw(st.none() | st.integers(0, 999)) if numbered else None
    lasts_s = 0.0 if kind is FaultKind.KILL else draw(MILLISECONDS)
    return Fault(kind, target, number, draw(MILLISECONDS), lasts_s)


def refused(what: Callable[[], object]) -> str:
    """The words of a refusal: one sentence, in one line, that does not shout."""
    with pytest.raises(UsageError) as caught:
        what()
    words = str(caught.value)
    assert words and "\n" not in words and not words.endswith((".", "!"))
    return words


def test_the_four_mishaps_of_the_manual() -> None:
    assert parse(FaultKind.KILL, "master@10s") == Fault(FaultKind.KILL, FaultTarget.MASTER, None, 10, 0)
    assert parse(FaultKind.STOP, "worker:3@20s") == Fault(FaultKind.STOP, FaultTarget.WORKER, 3, 20, FOR_S)
    assert parse(FaultKind.CUT, "redis@30s:5s") == Fault(FaultKind.CUT, FaultTarget.REDIS, None, 30, 5)
    assert parse(FaultKind.CUT, "peer@40s") == Fault(FaultKind.CUT, FaultTarget.PEER, None, 40, FOR_S)


@pytest.mark.parametrize(("words", "value"), [("10", 10), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120)])
def test_times_have_units_and_are_seconds_without(words: str, value: float) -> None:
    assert seconds(words, "--length") == value


@given(faults())
def test_a_mishap_is_read_as_it_is_written(fault: Fault) -> None:
    number = "" if fault.number is None else f":{fault.number}"
    lasts = f":{fault.lasts_s:.3f}s" if fault.lasts_s else ""
    assert parse(fault.kind, f"{fault.target.value}{number}@{fault.at_s:.3f}s{lasts}") == fault


@given(st.sampled_from(FaultKind), st.text() | st.text("masterworkerredispeer:@0123456789.smh-"))
def test_any_other_text_is_a_mishap_or_refused_in_words(kind: FaultKind, words: str) -> None:
    try:
        fault = parse(kind, words)
    except UsageError as error:
        assert str(error).startswith(f"--{kind.value}")
    else:
        assert 0 < fault.at_s <= MAX_TIME_S and fault.target in VICTIMS[kind]


@pytest.mark.parametrize(
    ("kind", "words", "says"),
    [
        (FaultKind.KILL, "mistress@10s", "choose one of master, worker, redis, emulator"),
        (FaultKind.CUT, "emulator@10s", "choose one of redis, peer, worker"),
        (FaultKind.KILL, "master", "WHAT[:NUMBER]@WHEN[:FOR]"),
        (FaultKind.KILL, "master@10s:5s", "a kill has no length"),
        (FaultKind.STOP, "master@soon", "'soon' is no time"),
        (FaultKind.STOP, "master@0s", "'0s' is no time"),
        (FaultKind.STOP, "master@3000m", "at most a day"),
        (FaultKind.STOP, "worker:x@3s", "'x' is no number"),
        (FaultKind.KILL, "emulator:1@3s", "only one emulator"),
        (FaultKind.KILL, "redis:1@3s", "only one redis"),
    ],
)
def test_what_is_not_understood_is_told_in_one_sentence(kind: FaultKind, words: str, says: str) -> None:
    assert says in refused(lambda: parse(kind, words))


@pytest.mark.parametrize(
    ("kind", "words", "there", "says"),
    [
        (FaultKind.CUT, "peer@3s", SINGLE, "has no peer"),
        (FaultKind.KILL, "worker:5@3s", PAIR, "the workers are 1 to 4"),
        (FaultKind.KILL, "worker:0@3s", PAIR, "the workers are 1 to 4"),
        (FaultKind.KILL, "master:2@3s", PAIR, "masters 0 and 1"),
        (FaultKind.STOP, "master:1@3s", SINGLE, "master 0 alone"),
        (FaultKind.CUT, "redis:1@3s", SINGLE, "master 0 alone"),
        (FaultKind.KILL, "redis@3s", OWN_SERVER, "that server is your own"),
        (FaultKind.CUT, "redis@3s", TLS_SERVER, "redis:// or unix://"),
    ],
)
def test_what_cannot_happen_here_is_refused(kind: FaultKind, words: str, there: SetUp, says: str) -> None:
    assert says in refused(lambda: check(parse(kind, words), there))


def test_the_way_to_a_server_of_the_users_own_can_be_cut() -> None:
    check(parse(FaultKind.CUT, "redis:1@3s"), OWN_SERVER)


def test_a_drill_lasts_longer_than_its_last_mishap_unless_it_is_told() -> None:
    plan = [parse(FaultKind.KILL, "master@10s"), parse(FaultKind.CUT, "redis@4s:8s")]
    assert length_of(plan, None) == 12 + SETTLE_S
    assert length_of(plan, 12.0) == 12.0
    assert "the drill is over at 11 s" in refused(lambda: length_of(plan, 11.0))


@given(st.floats(MIN_RANDOM_S, 2000), st.integers(0, 2**32), SET_UPS)
def test_a_random_plan_is_possible_in_order_and_leaves_time_to_recover(
    length_s: float, seed: int, there: SetUp
) -> None:
    plan = random_plan(length_s, seed, there)
    assert plan
    for fault in plan:
        check(fault, there)
    assert all(one.end_s < other.at_s for one, other in pairwise(plan))
    assert plan[-1].end_s + SETTLE_S <= length_s + 1e-6
    assert length_of(plan, length_s) == length_s


@given(st.integers(0, 2**32), SET_UPS)
def test_the_same_seed_gives_the_same_plan(seed: int, there: SetUp) -> None:
    assert random_plan(60, seed, there) == random_plan(60, seed, there)


@given(st.integers(0, 2**32), SET_UPS)
def test_a_random_plan_can_be_said_by_flags(seed: int, there: SetUp) -> None:
    for fault in random_plan(100, seed, there):
        kind, _, words = fault.flag.removeprefix("--").partition(" ")
        assert parse(FaultKind(kind), words) == fault


def test_other_seeds_give_other_plans() -> None:
    assert len({random_plan(60, seed, PAIR) for seed in range(50)}) > 40


def test_a_random_drill_that_is_too_short_is_refused() -> None:
    assert "at least" in refused(lambda: random_plan(MIN_RANDOM_S - 1, 1, PAIR))


def test_a_kill_may_cost_a_page_for_each_job_it_ended_and_a_cut_of_the_ledger_none() -> None:
    assert pages_allowed(parse(FaultKind.KILL, "worker@3s"), 4, 8) == 8
    assert pages_allowed(parse(FaultKind.KILL, "master@3s"), 4, 8) == 32
    assert pages_allowed(parse(FaultKind.CUT, "redis@3s"), 4, 8) == 0
