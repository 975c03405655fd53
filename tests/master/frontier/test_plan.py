"""What resuming a crawl with other flags means: each row of the table in `master.frontier.plan`."""

from __future__ import annotations

import pytest

from master.frontier.plan import Plan, recall, resume
from master.frontier.traversal import Traversing
from protocol.errors import UsageError
from protocol.jobs import Operation

T, F, A, U = Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE, Operation.UPDATE
BFS, DFS, DEFAULT = Traversing.BFS, Traversing.DFS, Traversing.DEFAULT


def asked(kept: Plan | None, *operations: Operation, how: Traversing = BFS, depth: int = 2, known: bool = True) -> Plan:
    return resume(kept, frozenset(operations), how, depth, known=known, streaming=kept is None)


def begun(*operations: Operation) -> Plan:
    return asked(None, *operations, known=False)


def test_a_new_crawl_does_what_it_is_asked_in_the_order_of_the_chain() -> None:
    assert begun(A, T, F) == Plan((T, F, A), BFS, 2)


def test_a_new_crawl_must_be_asked_something() -> None:
    with pytest.raises(UsageError, match="say what to do with each account"):
        begun()


@pytest.mark.parametrize("operation", [T, U])
def test_a_new_crawl_must_be_given_targets(operation: Operation) -> None:
    with pytest.raises(UsageError, match="a new crawl needs targets"):
        resume(None, frozenset({operation}), BFS, 2, known=False)


@pytest.mark.parametrize("operations", [(), (T, F)])
def test_the_same_flags_or_none_go_on(operations: tuple[Operation, ...]) -> None:
    assert asked(begun(T, F), *operations) == begun(T, F)


def test_none_go_on_whatever_the_traversing_says() -> None:
    assert asked(begun(T), how=DFS, depth=9) == begun(T)


def test_an_operation_more_is_owed_by_every_known_account_once() -> None:
    plan = asked(begun(T), T, A)
    assert (plan.operations, plan.widening, plan.edition, plan.widening_family) == ((T, A), (A,), 1, "widened1")
    assert asked(plan, T, A) == plan
    assert plan.widened() == Plan((T, A), BFS, 2, edition=1)


def test_a_second_widening_before_the_first_is_over_joins_it() -> None:
    plan = asked(asked(begun(F), F, A), T)
    assert (plan.operations, plan.widening, plan.edition) == ((T, F, A), (T, A), 1)


def test_a_later_widening_has_a_set_of_its_own() -> None:
    plan = asked(asked(begun(F), F, A).widened(), T)
    assert (plan.widening, plan.widening_family) == ((T,), "widened2")


def test_a_crawl_that_knows_nobody_yet_is_owed_nothing() -> None:
    assert asked(begun(T), T, F, known=False) == begun(T, F)


def test_an_operation_less_takes_nothing_back() -> None:
    assert asked(begun(T, F, A), T) == begun(T, F, A)


def test_an_update_stands_alone() -> None:
    with pytest.raises(UsageError, match="-U stands alone"):
        begun(U, T)
    with pytest.raises(UsageError, match="-U stands alone"):
        asked(begun(T), U, A)


def test_a_round_of_updates_that_was_begun_is_finished_before_another() -> None:
    first = asked(begun(T), U)
    assert (first.updating, first.round, first.round_family, first.operations) == (True, 1, "updated1", (T,))
    assert asked(first, U) == first
    assert asked(first) == first
    over = first.updated()
    assert (over.updating, over.round) == (False, 1)
    assert asked(over, U).round_family == "updated2"


def test_a_crawl_may_begin_with_updates_and_be_given_more_later() -> None:
    plan = begun(U)
    assert (plan.operations, plan.round, plan.updating) == ((), 1, True)
    later = asked(plan.updated(), T, F, how=DFS, depth=0)
    assert (later.operations, later.traversing, later.depth, later.round) == ((T, F), DFS, 0, 1)


@pytest.mark.parametrize(("how", "depth"), [(DFS, 2), (DEFAULT, 2), (BFS, 3), (BFS, 0)])
def test_another_traversing_or_depth_is_refused(how: Traversing, depth: int) -> None:
    with pytest.raises(UsageError, match="was begun with --traversing BFS --depth 2"):
        asked(begun(T), T, how=how, depth=depth)


@pytest.mark.parametrize(
    "plan",
    [begun(T, F, A), begun(U), asked(begun(T), F, A), asked(asked(begun(T), F), U), asked(begun(T), U).updated()],
)
def test_a_plan_is_recalled_as_it_was_remembered(plan: Plan) -> None:
    assert recall(plan.remembered()) == plan
    assert all(isinstance(value, str) for value in plan.remembered().values())


def test_a_ledger_without_a_plan_remembers_none() -> None:
    assert recall({}) is None
