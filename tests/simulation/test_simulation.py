"""The cluster keeps its promises over many seeds, and breaks them, visibly, when a fault is planted.

A seed that fails is named; `python -m tests.simulation.replay SEED` runs it again, exactly.
"""

from __future__ import annotations

from collections import Counter
from importlib import resources

import pytest
import redis

from master.dispatch import Dispatch
from tests.simulation.cluster import Simulation, Violation
from tests.simulation.mutants import DISPATCH_MUTANTS, SCRIPT_MUTANTS

SEEDS = 200
SEEDS_QUICK = 10
SEEDS_SOAK = 5000
CHUNK = 50

EXPECTED_TRANSITIONS = {"I", "L jobs", "P 0", "P 1", "P 2", "D 0", "D 1", "B 1", "R 1", "W 1", "X 0", "X 2"}
"""What every long enough run must have met: the kind of a transition and its status (0 stale, 1 accepted, 2 again)."""


def run_seeds(first: int, last: int, client: redis.Redis) -> Counter[str]:
    coverage: Counter[str] = Counter()
    for seed in range(first, last):
        try:
            Simulation(seed, client, coverage=coverage).run()
        except (Violation, AssertionError, KeyError) as error:
            raise AssertionError(f"seed {seed} fails: {error!r}") from error
    for name, times in sorted(coverage.items()):
        print(f"{name:28} {times:8}")
    return coverage


def caught_by(client: redis.Redis, source: str | None, dispatch: type[Dispatch]) -> int | None:
    """The first seed that notices, if one does."""
    for seed in range(SEEDS):
        try:
            Simulation(seed, client, source=source, make_dispatch=dispatch).run()
        except (Violation, AssertionError, KeyError, RecursionError):
            return seed
    return None


def test_the_cluster_keeps_its_promises_in_a_few_seeds(valkey: str) -> None:
    run_seeds(0, SEEDS_QUICK, redis.Redis.from_url(valkey))


def test_no_request_is_refused_while_nobody_dies(valkey: str) -> None:
    client = redis.Redis.from_url(valkey)
    for seed in range(SEEDS_QUICK):
        Simulation(seed, client, gentle=True).run()  # with no death, "limits were kept" allows not one refusal


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_the_cluster_keeps_its_promises(first: int, valkey: str) -> None:
    coverage = run_seeds(first, first + CHUNK, redis.Redis.from_url(valkey))
    assert coverage.keys() >= {"P 1", "D 1", "B 1", "R 1", "W 1", "X 0", "late commit refused"}


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_the_cluster_keeps_its_promises_in_5000_seeds(valkey: str) -> None:
    coverage = run_seeds(SEEDS, SEEDS_SOAK, redis.Redis.from_url(valkey))
    assert coverage.keys() >= EXPECTED_TRANSITIONS


@pytest.mark.slow
@pytest.mark.parametrize("mutant", SCRIPT_MUTANTS)
def test_a_fault_in_the_script_is_caught(mutant: str, valkey: str) -> None:
    script = resources.files("storage").joinpath("ledger.lua").read_text()
    seed = caught_by(redis.Redis.from_url(valkey), SCRIPT_MUTANTS[mutant](script), Dispatch)
    assert seed is not None, f"{SEEDS} seeds did not notice: {mutant}"
    print(f"{mutant}: caught by seed {seed}")


@pytest.mark.slow
@pytest.mark.parametrize("mutant", DISPATCH_MUTANTS)
def test_a_fault_in_the_dispatch_is_caught(mutant: str, valkey: str) -> None:
    seed = caught_by(redis.Redis.from_url(valkey), None, DISPATCH_MUTANTS[mutant])
    assert seed is not None, f"{SEEDS} seeds did not notice: {mutant}"
    print(f"{mutant}: caught by seed {seed}")


def test_a_seed_replays_exactly(valkey: str) -> None:
    client = redis.Redis.from_url(valkey)

    def history(seed: int) -> list[object]:
        simulation = Simulation(seed, client)
        simulation.run()
        return [simulation.now, simulation.ledger.writes]

    assert history(3) == history(3)
