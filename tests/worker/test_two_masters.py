"""What a worker does with two masters: whom it obeys, to whom it talks, and what it says after a takeover."""

from __future__ import annotations

from protocol import messages as wire
from worker.session import Session

FIRST, SECOND = 0, 1


def keeping() -> Session:
    one = Session("w1", "run1", "twitter", ["T"], 4, [wire.Caller("T", "address:1", "timeline")])
    one.masters = 2
    one.tick(0.0)
    assert sent(one, wire.Hello) == [FIRST, SECOND], "both are told that it lives"
    return one


def sent(one: Session, kind: type[wire.Message]) -> list[int]:
    """To whom messages of a kind went since this was last asked; what else there is is thrown away."""
    told = [master for master, message in one.outbox if isinstance(message, kind)]
    one.outbox = []
    return told


def welcome(epoch: int, incarnation: str = "") -> wire.Welcome:
    return wire.Welcome(incarnation or f"i{epoch}", epoch, "main", 1000, "L")


def standby(epoch: int) -> wire.StandbyNotice:
    return wire.StandbyNotice(epoch, "", "main", 1000, "L")


def job(token: str) -> wire.JobGiven:
    return wire.JobGiven(1, [wire.Assignment(token, "T", "12", 0, 0, 0, "", [], "address:1", 4)])


def working() -> Session:
    """A worker that is led by the first master, known to the second, and waits for the verdict on a page."""
    one = keeping()
    one.message(0.0, FIRST, welcome(1))
    one.message(0.0, SECOND, standby(1))
    one.message(0.0, FIRST, job("t:1"))
    one.stored(0.1, wire.Step("t:1", 1, 200, "more", 1000, [], 1))
    one.flush(0.1)
    assert sent(one, wire.ProgressMade) == [FIRST]
    return one


def test_a_standby_gives_no_orders_and_does_not_lead() -> None:
    one = keeping()
    one.message(0.0, SECOND, standby(7))
    assert (one.leader, one.epoch) == (None, 0)
    assert not one.may_ask(0.1)


def test_a_standby_that_knows_the_worker_hears_its_heartbeats_and_no_hello() -> None:
    one = keeping()
    one.message(0.0, FIRST, welcome(1))
    one.message(0.0, SECOND, standby(1))
    sent(one, wire.Hello)
    one.tick(1.5)
    assert sent(one, wire.Heartbeat) == [FIRST, SECOND]


def test_whoever_welcomes_hears_at_once_how_the_worker_stands() -> None:
    one = working()
    one.message(0.2, SECOND, welcome(2))
    beats = [m for master, m in one.outbox if isinstance(m, wire.Heartbeat) and master == SECOND]
    assert [held.token for held in beats[0].held] == ["t:1"]


def test_what_waits_for_a_verdict_is_said_again_to_the_new_leader_at_once() -> None:
    one = working()
    one.message(0.2, SECOND, welcome(2))
    assert sent(one, wire.ProgressMade) == [SECOND]


def test_an_old_leader_is_not_obeyed_any_more() -> None:
    one = working()
    one.message(0.2, SECOND, welcome(2))
    one.message(0.3, FIRST, wire.Committed(1, [wire.Verdict("t:1", 1, wire.STALE, 0)]))
    one.message(0.3, FIRST, wire.Quit(1, "over"))
    assert "t:1" in one.leases
    assert (one.leader, one.epoch) == (SECOND, 2)


def test_a_leader_that_stands_by_now_is_told_nothing_until_somebody_leads() -> None:
    one = working()
    one.message(0.2, FIRST, standby(1))
    one.tick(9.0)
    assert sent(one, wire.ProgressMade) == []
    one.message(9.1, FIRST, welcome(2))
    assert sent(one, wire.ProgressMade) == [FIRST]


def test_a_late_word_of_standing_by_does_not_unseat_a_new_leader() -> None:
    one = working()
    one.message(0.2, SECOND, welcome(2))
    one.message(0.3, FIRST, standby(1))
    one.message(0.3, SECOND, standby(1))
    assert one.leader == SECOND
