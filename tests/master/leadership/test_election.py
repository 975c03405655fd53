"""Who leads: the table of `master.leadership.election`, and the rules above it."""

from __future__ import annotations

import itertools

from hypothesis import given, strategies as st

from master.leadership.election import (
    CUT_OFF_S,
    LAPSE_S,
    LATE_S,
    PATIENCE_S,
    PEER_SILENCE_S,
    QUICK_LAPSE_S,
    READS,
    TABLE,
    YIELD_S,
    Act,
    Election,
    ElectionEvent,
    Peer,
    Role,
)
from storage.ledger.ledger import Lead

LOOK_S = 0.05


def held(beat: int = 1, *, by: str = "other", ended: str = "") -> Lead:
    return Lead(by, beat, 3, "L", f"master of {by}", ended)


def pair(*, peer_leads: bool = True, workers: int = 0) -> Election:
    """A standby whose peer spoke just now, at 0."""
    return Election(paired=True, peer=Peer(0.0, peer_leads, 3, workers, able=True))


def watch(election: Election, lead: Lead, *, talking: bool = False, took_s: float = 0.001) -> float | None:
    """Read the same lead again and again, from 0; when it is taken, if within ten seconds."""
    for turn in range(200):
        now = turn * LOOK_S
        if talking:
            election.peer.heard_at = now
        if election.read(now, lead, took_s) is Act.TAKE:
            return now
    return None


def leading(election: Election, now: float = 0.0) -> Election:
    election.use("mine")
    assert election.read(now, Lead("", 0, 3, "L", ""), 0.001) is Act.TAKE
    assert election.step(now, ElectionEvent.TAKEN) is Act.LEAD
    return election


def test_a_free_lead_is_taken_at_once() -> None:
    assert Election().read(0.0, Lead("", 0, 0, "", ""), 0.001) is Act.TAKE
    assert pair().read(0.0, Lead("", 0, 5, "L", ""), 0.001) is Act.TAKE


def test_a_beat_that_stands_still_lapses_after_a_second() -> None:
    taken = watch(pair(), held(), talking=True)
    assert taken is not None and LAPSE_S <= taken < LAPSE_S + 2 * LOOK_S


def test_it_lapses_sooner_when_the_peer_is_silent_too() -> None:
    taken = watch(pair(), held())
    assert taken is not None and QUICK_LAPSE_S <= taken < PEER_SILENCE_S + 2 * LOOK_S


def test_it_lapses_sooner_when_the_peer_says_that_it_does_not_lead() -> None:
    taken = watch(pair(peer_leads=False), held(), talking=True)
    assert taken is not None and QUICK_LAPSE_S <= taken < QUICK_LAPSE_S + 2 * LOOK_S


def test_a_beat_that_goes_on_never_lapses() -> None:
    election = pair()
    acts = {election.read(beat * 0.25, held(beat), 0.001) for beat in range(400)}
    assert acts == {Act.WAIT}


def test_late_answers_say_nothing() -> None:
    assert watch(pair(), held(), took_s=LATE_S * 1.01) is None


def test_a_read_without_an_answer_begins_the_watch_anew() -> None:
    election = pair()
    for turn in range(5):
        assert election.read(turn * LOOK_S, held(), 0.001) is Act.WAIT
    assert election.unanswered(5 * LOOK_S) is Act.WAIT
    assert election.read(9.0, held(), 0.001) is Act.WAIT, "nothing is known of the time between"


def test_so_many_answers_are_needed_however_long_they_are_apart() -> None:
    election = pair()
    for turn in range(READS - 1):
        assert election.read(turn * 5.0, held(), 0.001) is Act.WAIT
    assert election.read(READS * 5.0, held(), 0.001) is Act.TAKE


def test_the_lead_of_an_earlier_life_of_this_process_is_taken_anew_at_once() -> None:
    election = leading(pair())
    assert election.step(1.0, ElectionEvent.AWAY) is Act.STEP_DOWN
    assert election.read(1.1, held(by="mine"), 0.001) is Act.TAKE
    assert election.seen_is_own


def test_who_gave_way_leaves_the_lead_to_its_peer_for_a_while() -> None:
    election = leading(pair())
    assert election.step(5.0, ElectionEvent.GIVE_WAY, "asked") is Act.GIVE_BACK
    assert election.step(5.0, ElectionEvent.GIVEN_BACK) is Act.STEP_DOWN
    free = Lead("", 0, 4, "L", "")
    election.peer = Peer(5.1, False, 3, 1, able=True)
    assert election.read(5.1, free, 0.001) is Act.WAIT
    election.peer.heard_at = 5.0 + YIELD_S
    assert election.read(5.0 + YIELD_S, free, 0.001) is Act.TAKE


def test_who_gave_way_takes_the_lead_again_when_its_peer_falls_silent() -> None:
    election = leading(pair())
    election.step(5.0, ElectionEvent.GIVE_WAY, "asked")
    election.step(5.0, ElectionEvent.GIVEN_BACK)
    assert election.read(5.0 + PEER_SILENCE_S, Lead("", 0, 4, "L", ""), 0.001) is Act.TAKE


def test_a_crawl_that_ended_is_over_for_who_watched_it_and_new_for_who_did_not() -> None:
    ended = Lead("", 0, 3, "L", "", "done")
    watching = pair()
    watching.read(0.0, held(), 0.001)
    assert watching.read(1.0, ended, 0.001) is Act.STOP
    assert pair().read(0.0, ended, 0.001) is Act.TAKE


def test_a_master_alone_that_meets_another_complains_and_takes_nothing() -> None:
    election = Election()
    for beat in range(int(PATIENCE_S * 10) + 10):
        act = election.read(beat * 0.1, held(beat), 0.001)
        if act is Act.COMPLAIN:
            assert beat * 0.1 > PATIENCE_S
            return
        assert act is Act.WAIT
    raise AssertionError("it never complained")


def test_a_leader_whom_no_worker_reaches_gives_way_to_a_peer_whom_they_reach() -> None:
    election = leading(pair(peer_leads=False, workers=3))
    election.peer.heard_at = CUT_OFF_S
    assert not election.cut_off(CUT_OFF_S - 0.1, 0)
    assert election.cut_off(CUT_OFF_S, 0)
    assert not election.cut_off(CUT_OFF_S, 1), "one worker is enough"
    election.peer = Peer(2 * CUT_OFF_S, False, 3, 0, able=True)
    assert not election.cut_off(2 * CUT_OFF_S, 0), "the peer reaches none either"
    election.peer = Peer(3 * CUT_OFF_S, False, 3, 3, able=False)
    assert not election.cut_off(3 * CUT_OFF_S, 0), "the peer does not reach the ledger"


def test_a_leader_that_hears_of_a_higher_epoch_steps_down() -> None:
    election = leading(pair())
    election.peer = Peer(1.0, True, 5, 1, able=True)
    assert election.outranked(4)
    assert not election.outranked(5)
    assert election.step(1.0, ElectionEvent.OUTRANKED) is Act.STEP_DOWN
    assert not election.outranked(4), "it does not lead any more"


@given(st.lists(st.sampled_from(list(ElectionEvent)), max_size=40))
def test_only_the_ledgers_word_makes_a_leader(events: list[ElectionEvent]) -> None:
    election = Election(paired=True)
    asked = False
    for event in events:
        if (election.role, event) not in TABLE:
            continue
        act = election.step(0.0, event)
        if act is Act.TAKE:
            asked = True
        if election.role is Role.LEADING and act is Act.LEAD:
            assert asked and event is ElectionEvent.TAKEN
            asked = False
        assert election.role is not Role.LEADING or act in (Act.LEAD, Act.WAIT)


def test_from_every_role_there_is_a_way_out_and_over_is_the_end() -> None:
    reached = {Role.STANDBY}
    for _ in Role:
        reached |= {after for (before, _), (after, _) in TABLE.items() if before in reached}
    assert reached == set(Role)
    assert not [event for event in ElectionEvent if (Role.OVER, event) in TABLE]
    for role in set(Role) - {Role.OVER}:
        ways = {role}
        for _ in Role:
            ways |= {after for (before, _), (after, _) in TABLE.items() if before in ways}
        assert Role.OVER in ways, f"who is {role.value} can never leave"


def test_a_standby_never_gives_back_and_only_leaders_do() -> None:
    for (role, _), (after, act) in TABLE.items():
        if act is Act.GIVE_BACK:
            assert role is Role.LEADING and after in (Role.YIELDING, Role.LEAVING)
        if act is Act.STEP_DOWN:
            assert role in (Role.LEADING, Role.YIELDING, Role.LEAVING) and after is Role.STANDBY


def test_the_table_has_an_answer_to_whatever_may_happen_in_a_role() -> None:
    anywhere = {ElectionEvent.LEAVE, ElectionEvent.GIVE_WAY, ElectionEvent.OUTRANKED, ElectionEvent.AWAY}
    for role, event in itertools.product(set(Role) - {Role.OVER}, anywhere):
        assert (role, event) in TABLE, f"{role} {event}"
