"""What a master knows while it stands by, and what it makes of that when it leads."""

from __future__ import annotations

import random
from typing import Any

from master.dispatch.dispatcher import Dispatch
from master.dispatch.snapshot import Snapshot
from master.frontier.plan import Plan
from master.frontier.traversal import Traversing
from master.leadership.election import Role
from master.leadership.known_workers import Pair, StandbyState
from master.leadership.ledger_calls import Commit, Ending, GiveBack, Leadership, Observe, Take
from master.member import Member
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.errors import FencedError, LedgerError
from protocol.jobs import Operation
from storage.ledger.ledger import Lead, Reply
from storage.ledger.transitions import Discover, HandOut

T = Operation.TIMELINE
PEER_FREE = Lead("", 0, 4, "L", "")


def hello(name: str = "w1", run: str = "r1", who: str = "app:1") -> wire.Hello:
    return wire.Hello(name, run, "twitter", ["T"], 4, [wire.Caller("T", who, "timeline")], [], [])


def beat(run: str = "r1", remaining: int = 9) -> wire.Heartbeat:
    return wire.Heartbeat(run, 4, [], [wire.BudgetReport("app:1", "timeline", 10, remaining, 1000, 60_000)])


def replied(waiting: int = 0) -> Reply:
    return Reply([], {"T": waiting}, {}, 0, 0, 0, 1)


class Table:
    """A master of a pair, and a ledger that is answered by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        plan = Plan((T,), Traversing.BFS, 0)

        def lead(now: float, leadership: Leadership) -> Dispatch:
            return Dispatch(leadership.lead, plan.traversal, CrawlPolicy(), leadership.snapshot, now, random.Random(1))

        names = iter(f"i{n}" for n in range(100))
        self.plan = plan
        self.member = Member(CrawlPolicy(), lead, lambda _: [], lambda: next(names), Pair(1, "b:8001", "a:8000"))

    def ask(self, kind: type[Any]) -> Any:
        question = self.member.question(self.now)
        assert isinstance(question, kind), question
        return question

    def lead(self, waiting: int = 0) -> None:
        """See a free lead, and take it."""
        self.ask(Observe)
        self.member.answered(self.now, PEER_FREE)
        take = self.ask(Take)
        won = Lead(take.incarnation, 1, 5, "L", "b:8001")
        self.member.answered(self.now, Leadership(won, self.plan, Snapshot({}, {}, replied(waiting)), 2))
        assert self.member.election.role is Role.LEADING

    def said(self, kind: type[wire.Message]) -> list[Any]:
        found = [message for _, message in self.member.outbox if isinstance(message, kind)]
        self.member.outbox = []
        return found

    def peer(self, **more: Any) -> None:
        word = wire.PeerWord(0, "a:8000", "main", "L", 0, 4, 0, 0, 1, 0, 0)
        self.member.receive(self.now, b"peer", word._replace(**more))


def test_a_standby_answers_that_it_stands_by_and_who_leads() -> None:
    table = Table()
    table.peer(leads=1)
    table.member.receive(table.now, b"one", hello())
    [word] = table.said(wire.StandbyNotice)
    assert (word.leader, word.crawl) == ("a:8000", "main")


def test_a_standby_does_not_know_who_never_said_hello() -> None:
    table = Table()
    table.member.receive(table.now, b"one", beat())
    assert [word.code for word in table.said(wire.Refused)] == ["who"]


def test_a_new_leader_welcomes_the_workers_that_it_knew() -> None:
    table = Table()
    table.member.receive(table.now, b"one", hello())
    table.said(wire.StandbyNotice)
    table.lead()
    [word] = table.said(wire.Welcome)
    assert (word.incarnation, word.epoch) == ("i0", 5)


def test_a_worker_gets_no_job_before_the_new_leader_has_heard_it() -> None:
    table = Table()
    table.member.receive(table.now, b"one", hello())
    table.lead(waiting=5)
    assert not [t for t in _batch(table) if isinstance(t, HandOut)]
    table.member.receive(table.now, b"one", beat())
    assert [type(t) for t in _batch(table)] == [HandOut]


def test_a_shared_budget_waits_until_all_who_call_on_it_were_heard_or_for_two_heartbeats() -> None:
    table = Table()
    table.member.receive(table.now, b"one", hello())
    table.member.receive(table.now, b"two", hello("w2", "r2"))
    table.lead(waiting=5)
    table.member.receive(table.now, b"one", beat())
    assert not [t for t in _batch(table) if isinstance(t, HandOut)], "the other may have been told of less"
    table.now += 2 * CrawlPolicy().heartbeat
    assert [type(t) for t in _batch(table)] == [HandOut]


def _batch(table: Table) -> list[Any]:
    """What it commits now; the ledger says yes, and that as much waits as before."""
    table.now += 0.2
    commit = table.ask(Commit)
    reply = table.member.dispatch.reply if table.member.dispatch is not None else replied()
    statuses: list[Any] = [[] if isinstance(transition, HandOut) else 1 for transition in commit.batch]
    table.member.answered(table.now, Reply(statuses, reply.lengths, reply.levels, 0, 0, 0, 1))
    batch: list[Any] = commit.batch
    return batch


def test_what_a_standby_heard_of_budgets_holds_when_it_leads() -> None:
    table = Table()
    table.member.receive(table.now, b"one", hello())
    table.member.receive(table.now, b"one", beat(remaining=0))
    table.lead(waiting=5)
    table.member.receive(table.now, b"one", beat(remaining=0))
    assert not [t for t in _batch(table) if isinstance(t, HandOut)]


def test_a_refused_write_ends_the_leadership_and_tells_the_workers() -> None:
    table = Table()
    table.member.receive(table.now, b"one", hello())
    table.lead()
    table.said(wire.Welcome)
    table.now += 0.2
    table.ask(Commit)
    table.member.failed(table.now, FencedError("another incarnation leads"))
    assert table.member.election.role is Role.STANDBY and table.member.dispatch is None
    assert len(table.said(wire.StandbyNotice)) == 1


def test_a_person_hands_the_lead_over_only_to_a_peer_that_could_lead() -> None:
    table = Table()
    table.lead()
    assert "does not answer" in table.member.promote(table.now)
    table.peer(able=0)
    assert "does not reach the ledger" in table.member.promote(table.now)
    table.peer()
    assert table.member.promote(table.now) == ""
    table.member.tick(table.now)
    give: GiveBack = table.ask(GiveBack)
    assert give.ended == "", "the crawl goes on"
    table.member.answered(table.now, None)
    assert table.member.election.role is Role.STANDBY


def test_a_standby_asks_the_leader_for_the_lead() -> None:
    table = Table()
    table.peer(leads=1)
    assert table.member.promote(table.now) == ""
    assert table.member.to_peer[-1].wants == 1


def test_a_leader_gives_way_to_a_peer_that_a_person_wants() -> None:
    table = Table()
    table.lead()
    table.peer(wants=1)
    table.member.tick(table.now)
    table.ask(GiveBack)


def test_words_of_another_crawl_ledger_or_of_itself_are_not_heard() -> None:
    for strange in ({"crawl": "other"}, {"ledger": "other"}, {"ha": 1}):
        table = Table()
        table.lead()
        word = wire.PeerWord(0, "a:8000", "main", "L", 1, 9, 1, 1, 1, 0, 0)
        table.member.receive(table.now, b"peer", word._replace(**strange))
        table.member.tick(table.now)
        assert table.member.election.role is Role.LEADING, strange


def test_trouble_with_the_ledger_is_told_and_the_lead_sought_anew() -> None:
    table = Table()
    table.lead()
    table.now += 0.2
    table.ask(Commit)
    table.member.failed(table.now, LedgerError("the server is loading"))
    assert table.member.health.trouble == "the server is loading"
    table.now += 0.2
    table.ask(Observe)
    table.member.answered(table.now, Lead("i0", 3, 5, "L", "b:8001"))
    take = table.ask(Take)  # it led last: its own connection broke
    assert table.member.health.trouble, "to be read is not to serve"
    led = Leadership(Lead(take.incarnation, 1, 6, "L", "b:8001"), table.plan, Snapshot({}, {}, replied()), 2)
    table.member.answered(table.now, led)
    assert table.member.health.trouble == ""


def test_an_answer_to_a_leadership_that_is_over_changes_nothing() -> None:
    table = Table()
    table.lead()
    table.now += 0.2
    table.ask(Commit)
    table.peer(leads=1, epoch=9)
    table.member.tick(table.now)
    assert table.member.dispatch is None, "the peer leads a higher epoch"
    table.member.answered(table.now, replied())
    assert table.member.election.role is Role.STANDBY


def test_an_earlier_run_of_a_worker_is_forgotten_for_the_later_one() -> None:
    standby = StandbyState(CrawlPolicy())
    standby.hear(0.0, b"old", hello(run="r1"))
    standby.hear(5.0, b"new", hello(run="r2"))
    assert [peer for peer, _ in standby.expected()] == [b"new"]


def test_a_worker_that_was_silent_too_long_is_not_expected() -> None:
    standby = StandbyState(CrawlPolicy())
    standby.hear(0.0, b"one", hello())
    standby.tick(CrawlPolicy().worker_timeout + 0.1)
    assert standby.expected() == []


def test_a_crawl_whose_end_the_ledger_would_not_take_is_not_over() -> None:
    table = Table()
    table.lead()
    table.member.leave(Ending.DONE)
    table.member.tick(table.now)
    give: GiveBack = table.ask(GiveBack)
    assert give.ended == "done"
    table.member.failed(table.now, FencedError("the ledger was rolled back"))
    table.member.tick(table.now)
    assert table.member.ending is None
    table.ask(Observe)


def test_who_was_told_to_stop_leaves_though_the_ledger_would_not_take_the_lead_back() -> None:
    table = Table()
    table.lead()
    table.member.leave(Ending.STOPPED)
    table.member.tick(table.now)
    table.ask(GiveBack)
    table.member.failed(table.now, LedgerError("it is away"))
    table.member.tick(table.now)
    assert table.member.ending is Ending.STOPPED


def ends(count: int) -> wire.Result:
    """As many ends as make a commit full, of leases that nobody holds: what becomes of them is the ledger's to say."""
    return wire.Result([wire.End(f"t{n}", wire.DONE, 1, 200, "complete", [], 0, "") for n in range(count)], [])


def full(table: Table) -> Commit:
    """A leader with one commit under way and more to come than the next one holds."""
    table.member.receive(table.now, b"one", hello())
    table.lead()
    table.now += 0.2
    first: Commit = table.ask(Commit)
    assert table.member.dispatch is not None
    table.member.receive(table.now, b"one", ends(2 * table.member.dispatch.filled_by))
    return first


def test_a_full_commit_is_put_behind_the_one_that_is_under_way_and_no_third_behind_it() -> None:
    table = Table()
    first = full(table)
    assert table.member.question(table.now) is None
    second = table.member.further(table.now)
    assert second is not None and second.beat == first.beat + 1, "refused, if the first did not count"
    assert table.member.further(table.now) is None
    table.member.answered(table.now, Reply([1] * len(first.batch), {}, {}, 0, 0, 0, 1))
    third = table.member.further(table.now)
    assert third is not None and third.beat == second.beat + 1


def test_a_commit_that_is_not_full_waits_for_the_one_that_is_under_way() -> None:
    table = Table()
    full(table)
    assert table.member.dispatch is not None
    table.member.dispatch.filled_by = 10_000
    assert table.member.further(table.now) is None


def test_while_targets_are_read_one_commit_is_under_way_at_a_time() -> None:
    table = Table()
    full(table)
    assert table.member.dispatch is not None
    table.member.dispatch.intake = iter([])
    assert table.member.further(table.now) is None


def test_who_is_to_leave_or_to_give_way_puts_nothing_more_behind() -> None:
    table = Table()
    full(table)
    table.member.leave(Ending.STOPPED)
    assert table.member.further(table.now) is None
    table = Table()
    full(table)
    table.peer(wants=1)
    assert table.member.further(table.now) is None


def test_two_commits_under_way_fail_together_and_the_lead_is_sought_once() -> None:
    table = Table()
    full(table)
    assert table.member.further(table.now) is not None
    table.member.failed(table.now, LedgerError("the server is loading"))
    assert table.member.election.role is Role.STANDBY and table.member.dispatch is None
    table.now += 0.2
    assert table.member.question(table.now) is None, "an answer is still to come"
    table.member.failed(table.now, LedgerError("the server is loading"))
    table.now += 0.2
    table.ask(Observe)


def test_nobody_is_handed_more_than_there_is_room_for_by_two_commits_under_way() -> None:
    table = Table()
    table.member.receive(table.now, b"one", hello())
    table.lead(waiting=100)
    dispatch = table.member.dispatch
    assert dispatch is not None
    table.member.receive(table.now, b"one", beat())
    dispatch.filled_by = 1
    first: Commit = table.ask(Commit)
    asked = sum(t.most for t in first.batch if isinstance(t, HandOut))
    assert asked == 4, "a worker with room for four"
    table.member.receive(table.now, b"one", ends(1))
    second = table.member.further(table.now)
    assert second is not None and [type(t) for t in second.batch] == [Discover]


def test_who_led_before_is_named_as_the_one_that_gave_the_lead_back() -> None:
    table = Table()
    table.ask(Observe)
    table.member.answered(table.now, Lead("", 0, 4, "L", "a:8000"))
    assert table.ask(Take).why == "a:8000 gave the lead back"
