"""The life of a lease in a worker: the table, walked at random, keeps its rules."""

from __future__ import annotations

from hypothesis import given, strategies as st

from worker.held_leases import TABLE, HeldAct, HeldEvent, HeldState

SENT = {HeldState.STEPPING, HeldState.ENDING}


@given(st.lists(st.sampled_from(HeldEvent), max_size=40))
def test_what_is_sent_is_sent_alone_and_only_what_is_committed_is_forgotten(events: list[HeldEvent]) -> None:
    state, ended = HeldState.RUNNING, False
    for event in events:
        if event is HeldEvent.COMMITTED and state not in SENT:
            continue  # nothing is awaited
        before, (state, act) = state, TABLE[state, event]
        ended = ended or (act is HeldAct.SEND and event is HeldEvent.ENDED)
        assert (act is HeldAct.SEND) == (before not in SENT and state in SENT), "one page or end at a time"
        assert (act is HeldAct.CONTINUE) == (before is HeldState.STEPPING and state is HeldState.RUNNING)
        assert act is not HeldAct.FORGET or (ended and event is HeldEvent.COMMITTED)
        if state is HeldState.OVER:
            assert act in (HeldAct.FORGET, HeldAct.STOP)
            return


def test_every_event_is_foreseen_in_every_state_in_which_it_can_come_up() -> None:
    held = [state for state in HeldState if state is not HeldState.OVER]
    possible = {(state, event) for state in held for event in HeldEvent} - {(HeldState.RUNNING, HeldEvent.COMMITTED)}
    assert TABLE.keys() == possible


def test_the_leader_can_end_a_lease_at_any_time() -> None:
    for state in HeldState:
        for event in (HeldEvent.STALE, HeldEvent.REVOKED):
            assert state is HeldState.OVER or TABLE[state, event] == (HeldState.OVER, HeldAct.STOP)
