"""Who is let in: a name belongs to one run, room and service are looked at, and lost or strange tokens are noticed."""

from __future__ import annotations

import random
from typing import TypeVar

import pytest

from master.dispatch.dispatcher import Dispatch
from master.dispatch.snapshot import Snapshot
from master.frontier.traversal import Traversal, Traversing
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.jobs import Job, Operation
from storage.ledger.ledger import AGAIN, OK, Lead, LeaseRecord, Reply
from storage.ledger.transitions import PutBack, Transition

TERMS = CrawlPolicy(service="twitter", max_clients=2)
LEAD = Lead("incarnation", 1, 3, "id", "master")
M = TypeVar("M")


def dispatch(*held: str) -> Dispatch:
    """A new leader, of a ledger that holds these leases."""
    leases = {token: LeaseRecord(token, Job(Operation.TIMELINE, "7"), "w1", "twitter w1 T", 2) for token in held}
    walk = Traversal((Operation.TIMELINE,), Traversing.BFS)
    snapshot = Snapshot(leases, {}, Reply([], {}, {}, len(held), 0, 0, 0))
    return Dispatch(LEAD, walk, TERMS, snapshot, 0.0, random.Random(1))


def hello(
    name: str = "w1",
    run: str = "run1",
    *,
    held: tuple[str, ...] = (),
    who: str = "somebody",
    endpoint: str = "T",
    service: str = "twitter",
) -> wire.Hello:
    tokens = [wire.Spent(token, 2, 0, 0) for token in held]
    return wire.Hello(name, run, service, ["T"], 4, [wire.Caller("T", who, endpoint)], tokens, [])


def heartbeat(*held: str, run: str = "run1", idle_ms: int = 0) -> wire.Heartbeat:
    return wire.Heartbeat(run, 4, [wire.Spent(token, 2, 0, idle_ms) for token in held], [])


def sent(leader: Dispatch, peer: bytes, kind: type[M]) -> list[M]:
    """What was sent to a peer, of one kind; the outbox is emptied of it."""
    found: list[M] = [message for to, message in leader.outbox if to == peer and isinstance(message, kind)]
    leader.outbox = [(to, m) for to, m in leader.outbox if to != peer or not isinstance(m, kind)]
    return found


def answer(leader: Dispatch, now: float, status: int) -> None:
    """The ledger commits the next batch, which is one transition."""
    [_] = leader.next_batch(now) or []
    leader.committed(now, Reply([status], {}, {}, 1, 0, 0, 0))


def put_back(transition: Transition) -> tuple[str, str]:
    """The token and the queue of a job that goes back."""
    assert isinstance(transition, PutBack)
    return transition.token, transition.queue


def refusal(leader: Dispatch, peer: bytes) -> tuple[str, str]:
    [refused] = sent(leader, peer, wire.Refused)
    return refused.code, refused.words


def test_a_worker_with_an_operation_that_is_not_known_is_welcome_and_gets_jobs_of_the_others() -> None:
    later = hello()._replace(operations=["X", "T"], callers=[wire.Caller("X", "a", "b"), wire.Caller("T", "a", "T")])
    read = wire.decode(wire.encode(later))
    leader = dispatch()
    leader.receive(0, b"p1", read)
    assert sent(leader, b"p1", wire.Welcome)
    assert leader.worker_table.workers[b"p1"].budgets == {Operation.TIMELINE: ["twitter a T"]}


def test_a_worker_that_says_hello_is_welcome() -> None:
    leader = dispatch()
    leader.receive(0, b"p1", hello())
    assert sent(leader, b"p1", wire.Welcome) == [wire.Welcome("incarnation", 3, "main", 1000, "id")]


def test_a_name_in_use_is_refused_if_the_run_that_has_it_answers() -> None:
    leader = dispatch()
    leader.receive(0, b"p1", hello())
    sent(leader, b"p1", wire.Welcome)
    leader.receive(1, b"p2", hello(run="run2"))
    assert sent(leader, b"p1", wire.Welcome), "the run that has the name is asked"
    assert not leader.outbox, "and the other one waits"
    leader.receive(1.1, b"p1", heartbeat())
    assert refusal(leader, b"p2") == ("name-in-use", "a worker named 'w1' is at work: give this one another name")
    leader.tick(60)
    assert not sent(leader, b"p2", wire.Welcome)


def test_a_name_goes_to_the_new_run_if_the_old_one_does_not_answer() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello(held=("t1",)))
    leader.receive(1, b"p2", hello(run="run2"))
    leader.tick(1 + TERMS.name_timeout)
    assert not sent(leader, b"p2", wire.Welcome)
    leader.tick(1.1 + TERMS.name_timeout)
    assert len(sent(leader, b"p2", wire.Welcome)) == 1
    assert leader.worker_table.by_name["w1"].peer == b"p2"
    batch = leader.next_batch(4)
    assert batch is not None and [t.token for t in batch if isinstance(t, PutBack)] == ["t1"], (
        "what the old run held goes back"
    )


def test_a_name_goes_to_the_new_run_at_once_if_the_old_one_cannot_be_reached() -> None:
    leader = dispatch()
    leader.receive(0, b"p1", hello())
    leader.receive(1, b"p2", hello(run="run2"))
    leader.unreachable(1, b"p1")
    assert len(sent(leader, b"p2", wire.Welcome)) == 1
    assert not sent(leader, b"p2", wire.Refused)


def test_the_same_run_under_a_new_routing_id_keeps_what_it_holds() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello(held=("t1",)))
    leader.receive(1, b"p9", hello(held=("t1",)))
    assert list(leader.worker_table.workers) == [b"p9"]
    assert leader.worker_table.leases["t1"].peer == b"p9"
    assert not sent(leader, b"p9", wire.Revoke)


def test_no_more_workers_than_max_clients_but_the_known_may_come_again() -> None:
    leader = dispatch()
    for name in ("w1", "w2"):
        leader.receive(0, name.encode(), hello(name))
    leader.receive(0, b"w3", hello("w3"))
    assert refusal(leader, b"w3") == ("full", "2 workers are here: raise --max-clients")
    leader.receive(1, b"again", hello("w2"))
    assert sent(leader, b"again", wire.Welcome)


def test_a_worker_of_another_service_is_refused() -> None:
    leader = dispatch()
    leader.receive(0, b"p1", hello(service="mastodon"))
    assert refusal(leader, b"p1") == ("service", "this crawl is of 'twitter', the worker of 'mastodon'")
    assert not leader.worker_table.workers


@pytest.mark.parametrize(("who", "endpoint"), [("two words", "T"), ("", "T"), ("w", "a b"), ("w", "")])
def test_a_caller_that_cannot_be_told_apart_is_refused(who: str, endpoint: str) -> None:
    leader = dispatch()
    leader.receive(0, b"p1", hello(who=who, endpoint=endpoint))
    assert refusal(leader, b"p1")[0] == "service"


def test_a_worker_without_a_name_is_refused() -> None:
    leader = dispatch()
    leader.receive(0, b"p1", hello(""))
    assert refusal(leader, b"p1")[0] == "service"


def test_a_stranger_is_asked_who_it_is() -> None:
    leader = dispatch()
    leader.receive(0, b"p1", heartbeat())
    assert refusal(leader, b"p1")[0] == "who"


def test_a_token_that_nobody_had_listed_is_its_who_lists_it() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello("w5", held=("t1",)))
    assert (leader.worker_table.leases["t1"].peer, leader.worker_table.leases["t1"].worker) == (b"p1", "w5")
    leader.tick(TERMS.grace + 1)
    assert not leader.eager


def test_a_page_of_a_token_that_nobody_listed_is_answered_when_it_is_listed() -> None:
    leader, page = dispatch("t1"), wire.ProgressMade([wire.Step("t1", 1, 2, "next", 5, [], 1, b"")], [])
    for now, status in ((1, OK), (2, AGAIN)):
        leader.receive(now, b"p1", page)
        answer(leader, now, status)
        assert refusal(leader, b"p1")[0] == "who"
        assert not sent(leader, b"p1", wire.Committed)
    leader.receive(3, b"p1", hello(held=("t1",)))
    leader.receive(3, b"p1", page)
    answer(leader, 3, AGAIN)
    [message] = sent(leader, b"p1", wire.Committed)
    assert message.verdicts == [wire.Verdict("t1", 1, wire.ACCEPTED, 2)]


def test_a_token_that_nobody_lists_within_the_grace_goes_back() -> None:
    leader = dispatch("t1")
    leader.tick(TERMS.grace - 0.1)
    assert not leader.eager
    leader.tick(TERMS.grace)
    batch = leader.next_batch(TERMS.grace)
    assert batch == [PutBack("t1", "front:T", b"", "orphaned")]


def test_a_token_that_is_not_known_or_is_anothers_is_revoked() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello("w1", held=("t1",)))
    leader.receive(0, b"p2", hello("w2", held=("t1", "unknown")))
    [revoked] = sent(leader, b"p2", wire.Revoke)
    assert revoked.tokens == ["t1", "unknown"]
    assert leader.worker_table.leases["t1"].peer == b"p1"


def test_a_job_that_does_not_move_for_too_long_is_revoked_and_goes_back() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello(held=("t1",)))
    leader.receive(1, b"p1", heartbeat("t1", idle_ms=int(TERMS.progress_timeout * 1000)))
    assert not sent(leader, b"p1", wire.Revoke)
    leader.receive(2, b"p1", heartbeat("t1", idle_ms=int(TERMS.progress_timeout * 1000) + 1))
    assert [message.tokens for message in sent(leader, b"p1", wire.Revoke)] == [["t1"]]
    batch = leader.next_batch(2)
    assert batch is not None and put_back(batch[0]) == ("t1", "front:T")


def test_a_job_that_a_heartbeat_does_not_list_is_sent_again_after_a_while() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello(held=("t1",)))
    leader.receive(2 * TERMS.heartbeat, b"p1", heartbeat())
    assert not sent(leader, b"p1", wire.JobGiven)
    for at in (2.1, 2.2, 4.0):
        leader.receive(at, b"p1", heartbeat())
    [given] = sent(leader, b"p1", wire.JobGiven)
    assert [job.token for job in given.jobs] == ["t1"]


def test_a_worker_that_is_silent_for_too_long_loses_what_it_holds() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello(held=("t1",)))
    leader.tick(TERMS.worker_timeout)
    assert leader.worker_table.workers
    leader.tick(TERMS.worker_timeout + 0.1)
    assert not leader.worker_table.workers
    batch = leader.next_batch(TERMS.worker_timeout + 0.1)
    assert batch is not None and put_back(batch[0])[0] == "t1"


def test_who_says_goodbye_gives_back_what_it_holds_without_a_lapse() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello(held=("t1",)))
    leader.receive(1, b"p1", wire.Bye("run1"))
    assert leader.next_batch(1) == [PutBack("t1", "front:T", b"", "bye")]


def test_a_goodbye_of_an_earlier_run_is_not_the_workers() -> None:
    leader = dispatch("t1")
    leader.receive(0, b"p1", hello(run="run2", held=("t1",)))
    leader.receive(1, b"p1", wire.Bye("run1"))
    assert leader.worker_table.workers and not leader.eager


def test_who_comes_while_the_master_drains_is_told() -> None:
    leader = dispatch()
    leader.drain()
    leader.receive(0, b"p1", hello())
    assert sent(leader, b"p1", wire.Drain) == [wire.Drain(3)]
