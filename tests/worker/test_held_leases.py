"""The life of a lease in a worker: the table, walked at random, keeps its rules."""

from __future__ import annotations

from hypothesis import given, strategies as st

from worker.held_leases import TABLE, LeaseAct, LeaseEvent, LeaseState

SENT = {LeaseState.STEPPING, LeaseState.ENDING}


@given(st.lists(st.sampled_from(LeaseEvent), max_size=40))
def test_what_is_sent_is_sent_alone_and_only_what_is_committed_is_forgotten(events: list[LeaseEvent]) -> None:
    state, ended = LeaseState.RUNNING, False
    for event in events:
        if event is LeaseEvent.COMMITTED and state not in SENT:
            continue  # nothing is awaited
        before, (state, act) = state, TABLE[state, event]
        ended = ended or (act is LeaseAct.SEND and event is LeaseEvent.ENDED)
        assert (act is LeaseAct.SEND) == (before not in SENT and state in SENT), "one page or end at a time"
        assert (act is LeaseAct.CONTINUE) == (before is LeaseState.STEPPING and state is LeaseState.RUNNING)
        assert act is not LeaseAct.FORGET or (ended and event is LeaseEvent.COMMITTED)
        if state is LeaseState.OVER:
            assert act in (LeaseAct.FORGET, LeaseAct.STOP)
            return


def test_every_event_is_foreseen_in_every_state_in_which_it_can_come_up() -> None:
    held = [state for state in LeaseState if state is not LeaseState.OVER]
    possible = {(state, event) for state in held for event in LeaseEvent} - {(LeaseState.RUNNING, LeaseEvent.COMMITTED)}
    assert TABLE.keys() == possible


def test_the_leader_can_end_a_lease_at_any_time() -> None:
    for state in LeaseState:
        for event in (LeaseEvent.STALE, LeaseEvent.REVOKED):
            assert state is LeaseState.OVER or TABLE[state, event] == (LeaseState.OVER, LeaseAct.STOP)
