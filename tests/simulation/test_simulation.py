"""The cluster keeps its promises over many seeds, and breaks them, visibly, when a fault is planted.

A seed that fails is named; `python -m tests.simulation.replay SEED` runs it again, exactly.
"""

from __future__ import annotations

from collections import Counter
from importlib import resources
from typing import Any

import pytest
import redis

from tests.simulation.cluster import Simulation
from tests.simulation.mutants import (
    DISPATCH_MUTANTS,
    GENTLE_MUTANTS,
    PAIR_DISPATCH_MUTANTS,
    PAIR_MEMBER_MUTANTS,
    PAIR_SCRIPT_MUTANTS,
    SCRIPT_MUTANTS,
)
from tests.simulation.violation import Violation

SEEDS = 200
SEEDS_QUICK = 10
SEEDS_A_FEW = 3
SEEDS_LETTERS = 8
SEEDS_SOAK = 5000
SEEDS_THAT_FAILED = (3164,)
"""Seeds beyond the usual ones that met a fault once."""
CHUNK = 50
LOADED_S = 900
"""What fifty seeds may take on a machine that has other things to do; alone they take a twentieth of it."""

EXPECTED_TRANSITIONS = {
    *("jobs", "give jobs", "page 0", "page 1", "page 2", "done 0", "done 1", "back 1", "rest 1", "wake 1"),
    *("found 0", "found 2"),
}
"""What every long enough run must have met: the kind of a transition and its status (0 stale, 1 accepted, 2 again)."""


EXPECTED_PAIR_FAULTS = {
    "fault stop master",
    "fault cut m-m",
    "fault cut m-r",
    "fault cut r-m one way",
    "fault cut workers",
    "fault stall",
    "fault promote",
    "fault kill master",
    "late commit refused",
    "lead taken",
}


def run_seeds(
    first: int, last: int, client: redis.Redis, *, paired: bool = False, letters: bool = False
) -> Counter[str]:
    coverage: Counter[str] = Counter()
    for seed in range(first, last):
        try:
            Simulation(seed, client, coverage=coverage, paired=paired, letters=letters).run()
        except (Violation, AssertionError, KeyError) as error:
            of = " of a pair" * paired + " with letters" * letters
            raise AssertionError(f"seed {seed}{of} fails: {error!r}") from error
    for name, times in sorted(coverage.items()):
        print(f"{name:28} {times:8}")
    return coverage


def caught_by(client: redis.Redis, **planted: Any) -> int | None:
    """The first seed that notices, if one does."""
    for seed in range(SEEDS):
        try:
            Simulation(seed, client, **planted).run()
        except (Violation, AssertionError, KeyError, RecursionError):
            return seed
    return None


def test_the_cluster_keeps_its_promises_in_a_few_seeds(valkey: str) -> None:
    run_seeds(0, SEEDS_A_FEW, redis.Redis.from_url(valkey))


@pytest.mark.parametrize("seed", SEEDS_THAT_FAILED)
def test_a_seed_that_failed_once_is_kept(seed: int, valkey: str) -> None:
    run_seeds(seed, seed + 1, redis.Redis.from_url(valkey))


@pytest.mark.slow
@pytest.mark.timeout(LOADED_S)
def test_no_request_is_refused_while_nobody_dies(valkey: str) -> None:
    client = redis.Redis.from_url(valkey)
    for seed in range(SEEDS_QUICK):
        Simulation(seed, client, gentle=True).run()  # with no death, "limits were kept" allows not one refusal


@pytest.mark.slow
@pytest.mark.timeout(LOADED_S)
@pytest.mark.parametrize("paired", [False, True])
def test_every_account_is_reached_where_letters_are_requeued(valkey: str, paired: bool) -> None:
    coverage = run_seeds(0, SEEDS_LETTERS, redis.Redis.from_url(valkey), paired=paired, letters=True)
    assert min(coverage["letters requeued"], coverage["analyses that came again"]) > 0


@pytest.mark.slow
@pytest.mark.timeout(LOADED_S)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_the_cluster_keeps_its_promises(first: int, valkey: str) -> None:
    coverage = run_seeds(first, first + CHUNK, redis.Redis.from_url(valkey))
    assert coverage.keys() >= {
        "page 1",
        "done 1",
        "back 1",
        "rest 1",
        "wake 1",
        "found 0",
        "late commit refused",
        "commit behind a commit",
    }


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_the_cluster_keeps_its_promises_in_5000_seeds(valkey: str) -> None:
    coverage = run_seeds(SEEDS, SEEDS_SOAK, redis.Redis.from_url(valkey))
    assert coverage.keys() >= EXPECTED_TRANSITIONS


@pytest.mark.slow
@pytest.mark.timeout(LOADED_S)
@pytest.mark.parametrize("mutant", SCRIPT_MUTANTS)
def test_a_fault_in_the_script_is_caught(mutant: str, valkey: str) -> None:
    script = resources.files("storage.ledger").joinpath("ledger.lua").read_text()
    seed = caught_by(redis.Redis.from_url(valkey), source=SCRIPT_MUTANTS[mutant](script))
    assert seed is not None, f"{SEEDS} seeds did not notice: {mutant}"
    print(f"{mutant}: caught by seed {seed}")


@pytest.mark.slow
@pytest.mark.timeout(LOADED_S)
@pytest.mark.parametrize("mutant", [*DISPATCH_MUTANTS, *GENTLE_MUTANTS])
def test_a_fault_in_the_dispatch_is_caught(mutant: str, valkey: str) -> None:
    make = (DISPATCH_MUTANTS | GENTLE_MUTANTS)[mutant]
    seed = caught_by(redis.Redis.from_url(valkey), make_dispatch=make, gentle=mutant in GENTLE_MUTANTS)
    assert seed is not None, f"{SEEDS} seeds did not notice: {mutant}"
    print(f"{mutant}: caught by seed {seed}")


def test_a_pair_keeps_its_promises_in_a_few_seeds(valkey: str) -> None:
    run_seeds(0, SEEDS_A_FEW, redis.Redis.from_url(valkey), paired=True)


@pytest.mark.slow
@pytest.mark.timeout(LOADED_S)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_a_pair_keeps_its_promises(first: int, valkey: str) -> None:
    coverage = run_seeds(first, first + CHUNK, redis.Redis.from_url(valkey), paired=True)
    assert coverage.keys() >= {
        *("page 1", "done 1", "back 1", "rest 1", "wake 1", "found 0"),
        *EXPECTED_PAIR_FAULTS,
    }


@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_soak_a_pair_keeps_its_promises_in_5000_seeds(valkey: str) -> None:
    coverage = run_seeds(SEEDS, SEEDS_SOAK, redis.Redis.from_url(valkey), paired=True)
    assert coverage.keys() >= EXPECTED_TRANSITIONS | EXPECTED_PAIR_FAULTS


@pytest.mark.slow
@pytest.mark.timeout(LOADED_S)
@pytest.mark.parametrize("mutant", [*PAIR_SCRIPT_MUTANTS, *PAIR_MEMBER_MUTANTS, *PAIR_DISPATCH_MUTANTS])
def test_a_fault_in_the_pair_is_caught(mutant: str, valkey: str) -> None:
    script = resources.files("storage.ledger").joinpath("ledger.lua").read_text()
    planted: dict[str, Any] = {}
    if mutant in PAIR_SCRIPT_MUTANTS:
        planted["source"] = PAIR_SCRIPT_MUTANTS[mutant](script)
    elif mutant in PAIR_MEMBER_MUTANTS:
        planted["make_member"] = PAIR_MEMBER_MUTANTS[mutant]
    else:
        planted["make_dispatch"] = PAIR_DISPATCH_MUTANTS[mutant]
    seed = caught_by(redis.Redis.from_url(valkey), paired=True, **planted)
    assert seed is not None, f"{SEEDS} seeds did not notice: {mutant}"
    print(f"{mutant}: caught by seed {seed}")


def test_a_seed_replays_exactly(valkey: str) -> None:
    client = redis.Redis.from_url(valkey)

    def history(seed: int) -> list[object]:
        simulation = Simulation(seed, client)
        simulation.run()
        return [simulation.now, simulation.ledger.writes]

    assert history(3) == history(3)
