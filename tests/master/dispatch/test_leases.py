"""The life of a lease, as the leader sees it: the table, walked at random, keeps its rules."""

from __future__ import annotations

from hypothesis import given, strategies as st

from master.dispatch.leases import TABLE, LeaseAct, LeaseEvent, LeaseState


@given(st.lists(st.sampled_from(LeaseEvent), max_size=60))
def test_one_page_is_committed_at_a_time_and_each_lease_ends_once(events: list[LeaseEvent]) -> None:
    state, flying, ends = LeaseState.HELD, 0, 0
    for event in events:
        if event is LeaseEvent.PAGE_ANSWERED and not flying:
            continue  # nothing was asked of the ledger
        if event is LeaseEvent.END_COMMITTED and (state is not LeaseState.ENDING or flying):
            continue  # commits are answered in their order
        before, (state, act) = state, TABLE[state, event]
        if act is LeaseAct.COMMIT and event is LeaseEvent.PAGE:
            flying += 1
        elif act is LeaseAct.COMMIT or (act is LeaseAct.PUT_BACK and before is not LeaseState.ENDING):
            ends += 1
        elif event is LeaseEvent.PAGE_ANSWERED:
            flying -= 1
        assert flying <= 1 and ends <= 1
        assert (ends == 1) == (state in (LeaseState.ENDING, LeaseState.OVER))
        assert (act is LeaseAct.CLOSE) == (state is LeaseState.OVER)
        if state is LeaseState.OVER:
            return


def test_every_event_of_a_worker_or_of_time_is_foreseen_while_a_lease_is_not_over() -> None:
    outside = (LeaseEvent.PAGE, LeaseEvent.END, LeaseEvent.FAILURE, LeaseEvent.LAPSED, LeaseEvent.GAP)
    for state in LeaseState:
        for event in outside:
            assert ((state, event) in TABLE) == (state is not LeaseState.OVER)


def test_a_failure_waits_for_the_page_before_it() -> None:
    assert TABLE[LeaseState.STEPPING, LeaseEvent.FAILURE] == (LeaseState.STEPPING, LeaseAct.IGNORE)
    assert TABLE[LeaseState.STEPPING, LeaseEvent.END] == (LeaseState.ENDING, LeaseAct.COMMIT)
