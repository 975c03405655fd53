"""The plan of a fire drill: what is understood, what is refused and how, and what chance makes of a seed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from master.drill import (
    FOR_S,
    LONGEST_S,
    SETTLE_S,
    SHORTEST_RANDOM_S,
    VICTIMS,
    Mishap,
    SetUp,
    Verb,
    Victim,
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
def mishaps(draw: st.DrawFn) -> Mishap:
    verb = draw(st.sampled_from(Verb))
    victim = draw(st.sampled_from(VICTIMS[verb]))
    numbered = victim in (Victim.MASTER, Victim.WORKER) or (victim is Victim.REDIS and verb is Verb.CUT)
    number = draw(st.none() | st.integers(0, 999)) if numbered else None
    lasts_s = 0.0 if verb is Verb.KILL else draw(MILLISECONDS)
    return Mishap(verb, victim, number, draw(MILLISECONDS), lasts_s)


def refused(what: Callable[[], object]) -> str:
    """The words of a refusal: one sentence, in one line, that does not shout."""
    with pytest.raises(UsageError) as caught:
        what()
    words = str(caught.value)
    assert words and "\n" not in words and not words.endswith((".", "!"))
    return words


def test_the_four_mishaps_of_the_manual() -> None:
    assert parse(Verb.KILL, "master@10s") == Mishap(Verb.KILL, Victim.MASTER, None, 10, 0)
    assert parse(Verb.STOP, "worker:3@20s") == Mishap(Verb.STOP, Victim.WORKER, 3, 20, FOR_S)
    assert parse(Verb.CUT, "redis@30s:5s") == Mishap(Verb.CUT, Victim.REDIS, None, 30, 5)
    assert parse(Verb.CUT, "peer@40s") == Mishap(Verb.CUT, Victim.PEER, None, 40, FOR_S)


@pytest.mark.parametrize(("words", "value"), [("10", 10), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120)])
def test_times_have_units_and_are_seconds_without(words: str, value: float) -> None:
    assert seconds(words, "--length") == value


@given(mishaps())
def test_a_mishap_is_read_as_it_is_written(mishap: Mishap) -> None:
    number = "" if mishap.number is None else f":{mishap.number}"
    lasts = f":{mishap.lasts_s:.3f}s" if mishap.lasts_s else ""
    assert parse(mishap.verb, f"{mishap.victim.value}{number}@{mishap.at_s:.3f}s{lasts}") == mishap


@given(st.sampled_from(Verb), st.text() | st.text("masterworkerredispeer:@0123456789.smh-"))
def test_any_other_text_is_a_mishap_or_refused_in_words(verb: Verb, words: str) -> None:
    try:
        mishap = parse(verb, words)
    except UsageError as error:
        assert str(error).startswith(f"--{verb.value}")
    else:
        assert 0 < mishap.at_s <= LONGEST_S and mishap.victim in VICTIMS[verb]


@pytest.mark.parametrize(
    ("verb", "words", "says"),
    [
        (Verb.KILL, "mistress@10s", "choose one of master, worker, redis, emulator"),
        (Verb.CUT, "emulator@10s", "choose one of redis, peer, worker"),
        (Verb.KILL, "master", "WHAT[:NUMBER]@WHEN[:FOR]"),
        (Verb.KILL, "master@10s:5s", "a kill has no length"),
        (Verb.STOP, "master@soon", "'soon' is no time"),
        (Verb.STOP, "master@0s", "'0s' is no time"),
        (Verb.STOP, "master@3000m", "at most a day"),
        (Verb.STOP, "worker:x@3s", "'x' is no number"),
        (Verb.KILL, "emulator:1@3s", "only one emulator"),
        (Verb.KILL, "redis:1@3s", "only one redis"),
    ],
)
def test_what_is_not_understood_is_told_in_one_sentence(verb: Verb, words: str, says: str) -> None:
    assert says in refused(lambda: parse(verb, words))


@pytest.mark.parametrize(
    ("verb", "words", "there", "says"),
    [
        (Verb.CUT, "peer@3s", SINGLE, "has no peer"),
        (Verb.KILL, "worker:5@3s", PAIR, "the workers are 1 to 4"),
        (Verb.KILL, "worker:0@3s", PAIR, "the workers are 1 to 4"),
        (Verb.KILL, "master:2@3s", PAIR, "masters 0 and 1"),
        (Verb.STOP, "master:1@3s", SINGLE, "master 0 alone"),
        (Verb.CUT, "redis:1@3s", SINGLE, "master 0 alone"),
        (Verb.KILL, "redis@3s", OWN_SERVER, "that server is your own"),
        (Verb.CUT, "redis@3s", TLS_SERVER, "redis:// or unix://"),
    ],
)
def test_what_cannot_happen_here_is_refused(verb: Verb, words: str, there: SetUp, says: str) -> None:
    assert says in refused(lambda: check(parse(verb, words), there))


def test_the_way_to_a_server_of_the_users_own_can_be_cut() -> None:
    check(parse(Verb.CUT, "redis:1@3s"), OWN_SERVER)


def test_a_drill_lasts_longer_than_its_last_mishap_unless_it_is_told() -> None:
    plan = [parse(Verb.KILL, "master@10s"), parse(Verb.CUT, "redis@4s:8s")]
    assert length_of(plan, None) == 12 + SETTLE_S
    assert length_of(plan, 12.0) == 12.0
    assert "the drill is over at 11 s" in refused(lambda: length_of(plan, 11.0))


@given(st.floats(SHORTEST_RANDOM_S, 2000), st.integers(0, 2**32), SET_UPS)
def test_a_random_plan_is_possible_in_order_and_leaves_time_to_recover(
    length_s: float, seed: int, there: SetUp
) -> None:
    plan = random_plan(length_s, seed, there)
    assert plan
    for mishap in plan:
        check(mishap, there)
    assert all(one.end_s < other.at_s for one, other in pairwise(plan))
    assert plan[-1].end_s + SETTLE_S <= length_s + 1e-6
    assert length_of(plan, length_s) == length_s


@given(st.integers(0, 2**32), SET_UPS)
def test_the_same_seed_gives_the_same_plan(seed: int, there: SetUp) -> None:
    assert random_plan(60, seed, there) == random_plan(60, seed, there)


@given(st.integers(0, 2**32), SET_UPS)
def test_a_random_plan_can_be_said_by_flags(seed: int, there: SetUp) -> None:
    for mishap in random_plan(100, seed, there):
        verb, _, words = mishap.flag.removeprefix("--").partition(" ")
        assert parse(Verb(verb), words) == mishap


def test_other_seeds_give_other_plans() -> None:
    assert len({random_plan(60, seed, PAIR) for seed in range(50)}) > 40


def test_a_random_drill_that_is_too_short_is_refused() -> None:
    assert "at least" in refused(lambda: random_plan(SHORTEST_RANDOM_S - 1, 1, PAIR))


def test_a_kill_may_cost_a_page_for_each_job_it_ended_and_a_cut_of_the_ledger_none() -> None:
    assert pages_allowed(parse(Verb.KILL, "worker@3s"), 4, 8) == 8
    assert pages_allowed(parse(Verb.KILL, "master@3s"), 4, 8) == 32
    assert pages_allowed(parse(Verb.CUT, "redis@3s"), 4, 8) == 0
