"""Where discoveries wait, and which level may be analysed: the three ways to walk."""

from __future__ import annotations

import pytest

from master.frontier.traversal import Traversal, Traversing, front_of
from protocol.jobs import Job, Operation
from storage.ledger.job_codec import unpack_job
from storage.ledger.transitions import Discoveries

T, F, A, U = Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE, Operation.UPDATE
DEFAULT = Traversal((F, A))
BFS, DFS = Traversal((F, A), Traversing.BFS), Traversal((F, A), Traversing.DFS)
LEVELS = Traversal((T, F, A), Traversing.BFS, 3)


def parts(found: Discoveries | None) -> tuple[str, bool, str, list[str], list[Job]]:
    assert found is not None
    return found.queue, found.front, found.level, [*found.accounts], [*map(unpack_job, found.records)]


def test_by_default_discoveries_are_collected_and_not_followed() -> None:
    assert parts(DEFAULT.discoveries(Job(A, "1"), ["2", "3"])) == ("", False, "", ["2", "3"], [])


def test_breadth_first_wait_at_the_tail_with_their_depth_and_parent() -> None:
    queue, front, level, accounts, jobs = parts(BFS.discoveries(Job(A, "1", 4, "0"), ["2", "3"]))
    assert (queue, front, level, accounts) == ("F", False, "", ["2", "3"])
    assert jobs == [Job(F, account, 5, "1", (A,)) for account in accounts]


def test_depth_first_wait_at_the_head() -> None:
    queue, front, level, _, jobs = parts(DFS.discoveries(Job(A, "1", 0), ["2"]))
    assert (queue, front, level, jobs) == ("F", True, "", [Job(F, "2", 1, "1", (A,))])


@pytest.mark.parametrize("how", [Traversing.BFS, Traversing.DFS])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_accounts_beyond_the_depth_are_not_discovered(how: Traversing, depth: int) -> None:
    walk = Traversal((F, A), how, depth)
    for at in range(5):
        found = walk.discoveries(Job(A, "1", at), ["2"])
        assert (found is not None) == (at + 1 < depth)


def test_the_frontier_file_knows_no_depth() -> None:
    assert Traversal((A,), Traversing.DEFAULT, 1).discoveries(Job(A, "1", 0), ["2"]) is not None


def test_nothing_found_is_nothing_to_commit() -> None:
    assert all(walk.discoveries(Job(A, "1"), []) is None for walk in (DEFAULT, BFS, DFS, LEVELS))


def test_discoveries_of_a_levelled_walk_count_for_their_level() -> None:
    queue, _, level, _, jobs = parts(LEVELS.discoveries(Job(A, "1", 1), ["2"]))
    assert (queue, level, jobs[0].depth) == ("T", "2", 2)


def test_analyses_of_a_levelled_walk_wait_apart_by_level() -> None:
    assert LEVELS.queue(Job(A, "1", 2)) == "A2"
    assert (LEVELS.queue(Job(F, "1", 2)), BFS.queue(Job(A, "1", 2)), DFS.queue(Job(A, "1", 2))) == ("F", "A", "A")


def test_a_level_waits_for_every_account_that_is_still_to_be_analysed() -> None:
    assert LEVELS.level(Job(T, "1", 2, "", (F, A))) == "2"
    assert LEVELS.level(Job(A, "1", 2)) == "2"
    assert LEVELS.level(Job(T, "1", 2, "", (F,))) == ""
    assert BFS.level(Job(A, "1", 2)) == ""


def test_only_the_lowest_level_that_is_not_over_is_analysed() -> None:
    assert LEVELS.sources(A, {0: 0, 1: 3, 2: 40}) == ["front:A", "A1"]
    assert LEVELS.sources(A, {0: 0, 1: 0, 2: 40}) == ["front:A", "A2"]
    assert LEVELS.sources(A, {0: 0, 1: 0}) == ["front:A"]


def test_timelines_and_followers_go_on_at_every_level() -> None:
    assert LEVELS.sources(T, {0: 1}) == ["front:T", "T"]
    assert LEVELS.sources(F, {0: 1}) == ["front:F", "F"]


@pytest.mark.parametrize("walk", [DEFAULT, BFS, DFS])
def test_what_was_begun_goes_on_before_what_was_not(walk: Traversal) -> None:
    for operation in Operation:
        assert walk.sources(operation, {}) == [front_of(operation), operation.value]


def test_the_first_job_of_an_account_has_the_others_behind_it() -> None:
    assert LEVELS.first_job("1") == Job(T, "1", 0, "", (F, A))
    assert Traversal((A,)).first_job("1", 2, "9") == Job(A, "1", 2, "9")
    assert Traversal(()).first_job("1") == Job(U, "1")
