"""Dispatch: the leader's decisions. Messages and ticks go in; a batch for the ledger and messages to send come out.

No socket, no clock, no Redis in here: `now` is the caller's monotonic time in seconds. The loop around it

    receive(now, peer, message)     for each frame that waits
    tick(now)
    batch = next_batch(now)         when no commit is under way; committed by the ledger
    committed(now, reply)           its answer
    outbox                          messages to send, emptied by the loop

Rules it keeps:
  * Nothing is answered before it is committed: verdicts, jobs and grants leave only in `committed`.
  * What is in memory is what the ledger said last, and can be rebuilt from it; where the two differ the ledger is right,
    and `Inconsistent` ends this object: the lead is taken again.
  * A lease is judged by its token, never by the connection over which it is spoken of.
  * After a commit whose fate is unknown this object is thrown away, and another is made from the ledger.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from master.assignment import Assigner, Wish
from master.budgets import Budgets
from master.roster import Hand, Newcomer, Roster, Worker
from master.traversal import COLLECTED, Traversal, front_of
from protocol import messages as wire
from protocol.errors import LedgerError
from protocol.jobs import Job, Operation, Outcome, Segment
from storage.ledger import AGAIN, GAP, MAX_DISCOVERIES, MAX_TRANSITIONS, OK, Lead, Lease, Reply, Transition
from storage.records import pack_job, unpack_job

MAX_REVOKED = 1000
"""Tokens in one REVOKE."""


class InconsistentError(LedgerError):
    """The ledger and the leader's memory differ; the lead must be taken again to learn what holds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a crawl asks of its workers. Seconds, unless said otherwise."""

    crawl: str = "main"
    service: str = "twitter"
    max_clients: int = 200
    heartbeat: float = 1.0
    beat: float = 0.1
    worker_timeout: float = 10.0
    progress_timeout: float = 300.0
    grace: float = 5.0
    name_timeout: float = 2.0
    job_tries: int = 5
    job_lapses: int = 20
    retry_base: float = 5.0
    retry_most: float = 300.0
    max_users: int = 0


@dataclass(slots=True)
class Pending:
    """A transition that waits for its commit, and what to do with its status."""

    transition: Transition
    weight: int = 0
    peer: bytes | None = None
    hand: Hand | None = None
    after: Job | None = None
    topped_up: int = 0
    wish: Wish | None = None


@dataclass(slots=True)
class Loaded:
    """What a new leader reads from the ledger before it decides anything."""

    held: dict[str, Lease]
    retry: dict[str, Job]
    reply: Reply


class Dispatch:
    """One leadership: from taking the lead to losing it."""

    def __init__(
        self, lead: Lead, traversal: Traversal, terms: Terms, loaded: Loaded, now: float, chance: random.Random
    ) -> None:
        self.lead, self.traversal, self.terms = lead, traversal, terms
        self.roster, self.budgets = Roster(), Budgets()
        self.outbox: list[tuple[bytes, wire.Message]] = []
        self.reply = loaded.reply
        self.intake: Iterator[Transition] | None = None
        self.draining = False
        self.counted: dict[str, int] = {}
        self._chance = chance
        self._pending: deque[Pending] = deque()
        self._flying: list[Pending] | None = None
        self._committed_at = now
        self._grace_until = now + terms.grace
        self._assigner = Assigner(self.budgets, traversal)
        self._resting: list[tuple[float, str, str]] = []
        for field, job in sorted(loaded.retry.items()):
            self._rest(now, field, job)
        for token, lease in loaded.held.items():
            self.roster.hands[token] = Hand(token, lease.job, lease.worker, lease.budget, lease.granted, moved_at=now)
            self.budgets.grant(lease.budget, lease.granted)

    # What comes in.

    def receive(self, now: float, peer: bytes, message: wire.Message) -> None:
        """One message from a worker. What is not a worker's to say is counted and dropped."""
        worker = self.roster.workers.get(peer)
        if worker is not None:
            worker.heard_at = now
            self._old_run_answered(worker)
        match message:
            case wire.Hello():
                self._hello(now, peer, message)
            case wire.ProgressMade():
                self.budgets.report(self.terms.service, now, message.budgets)
                for step in message.steps:
                    self._step(now, peer, step)
            case wire.Result():
                self.budgets.report(self.terms.service, now, message.budgets)
                for end in message.ends:
                    self._end(now, peer, end)
            case wire.Heartbeat() if worker is not None and worker.run == message.run:
                self.budgets.report(self.terms.service, now, message.budgets)
                worker.room = message.room
                self._listed(now, worker, message.held)
                self._resend(now, worker, {item.token for item in message.held})
                self.outbox.append((peer, wire.Committed(self.lead.epoch, [])))
            case wire.Bye() if worker is not None and worker.run == message.run:
                self._dispose(self.roster.leave(worker), "bye")
            case wire.Heartbeat() | wire.Bye():
                pass
            case _:
                self._count(f"unexpected {wire.TYPES[type(message)].decode()}")
        if worker is None and not isinstance(message, (wire.Hello, wire.Bye)):
            self.outbox.append((peer, wire.Refused("who", "this master does not know you: say HELLO first")))

    def unreachable(self, now: float, peer: bytes) -> None:
        """A message could not be sent: nobody is connected under that routing id any more."""
        worker = self.roster.workers.get(peer)
        if worker is not None and worker.name in self.roster.newcomers:
            self._replace(now, worker.name)

    def tick(self, now: float) -> None:
        """Let time pass: silent workers, orphans after the grace period, resting jobs that are due."""
        for worker in [w for w in self.roster.workers.values() if now - w.heard_at > self.terms.worker_timeout]:
            self._count("workers lost")
            self._dispose(self.roster.leave(worker), "lapsed")
        if now >= self._grace_until:
            self._dispose([hand for hand in self.roster.orphans() if not hand.ended], "orphaned")
        for name in [n for n, c in self.roster.newcomers.items() if now - c.asked_at > self.terms.name_timeout]:
            self._replace(now, name)
        while self._resting and self._resting[0][0] <= now:
            _, field, operation = heapq.heappop(self._resting)
            self._pending.append(Pending(["W", field, front_of(Operation(operation))]))

    def drain(self) -> None:
        """Hand out nothing more; workers finish what they hold."""
        self.draining = True
        self._tell_all(wire.Drain(self.lead.epoch))

    def quit(self, reason: str) -> None:
        """Tell every worker to leave."""
        self._tell_all(wire.Quit(self.lead.epoch, reason))

    def ask_again(self, peers: list[bytes]) -> None:
        """Ask peers that an earlier leadership knew who they are."""
        for peer in peers:
            self.outbox.append((peer, wire.Refused("who", "the lead was taken anew: say HELLO again")))

    @property
    def queues(self) -> list[str]:
        """The queues whose lengths each commit tells."""
        operations = [*self.traversal.operations]
        names = [front_of(operation) for operation in Operation] + [operation.value for operation in Operation]
        if self.traversal.levelled and Operation.ANALYSE in operations:
            names += [f"A{level}" for level in sorted(self.reply.levels) if self.reply.levels[level] > 0]
        return names

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do: the crawl is over, or drained."""
        if self._pending or self._flying or self.roster.hands:
            return False
        if self.draining:
            return True
        waiting = any(length for queue, length in self.reply.lengths.items() if queue != COLLECTED)
        unleveled = any(accounts > 0 for accounts in self.reply.levels.values())
        return not (self.intake or waiting or unleveled or self.reply.held or self.reply.retry)

    # What goes out.

    def next_batch(self, now: float) -> list[Transition] | None:
        """The next commit: what waits, then what is to be handed out. None when there is nothing and no beat is due."""
        assert self._flying is None, "one commit is under way at a time"
        batch: list[Pending] = []
        weight = 0
        while self._pending and len(batch) < MAX_TRANSITIONS:
            if batch and weight + self._pending[0].weight > MAX_DISCOVERIES:
                break
            pending = self._pending.popleft()
            weight += pending.weight
            batch.append(pending)
        if self.intake is not None and weight < MAX_DISCOVERIES // 2 and len(batch) < MAX_TRANSITIONS:
            transition = next(self.intake, None)
            if transition is None:
                self.intake = None
            else:
                batch.append(Pending(transition))
        if not self.draining:
            wishes = self._assigner.wishes(
                now, self.roster, self.reply, MAX_TRANSITIONS - len(batch), self.intake is not None
            )
            batch += [Pending(wish.transition, wish=wish) for wish in wishes]
        if not batch and now - self._committed_at < self.terms.beat:
            return None
        self._flying = batch
        return [pending.transition for pending in batch]

    def committed(self, now: float, reply: Reply) -> None:
        """The ledger has the batch: take over what it says, and tell those whom it concerns."""
        assert self._flying is not None
        batch, self._flying = self._flying, None
        self.reply, self._committed_at = reply, now
        verdicts: dict[bytes, list[wire.Verdict]] = {}
        for pending, status in zip(batch, reply.statuses, strict=True):
            if pending.wish is not None:
                self._leased(now, pending.wish, status)
            elif pending.transition[0] in "PDXBRK":
                self._settled(now, pending, status, verdicts)
        for peer, items in verdicts.items():
            self.outbox.append((peer, wire.Committed(self.lead.epoch, items)))

    # The handlers, one a message.

    def _hello(self, now: float, peer: bytes, hello: wire.Hello) -> None:
        refusal = self._refusal(hello)
        if refusal is not None:
            self.outbox.append((peer, refusal))
            return
        known = self.roster.by_name.get(hello.name)
        if known is not None and known.run != hello.run:
            self.roster.newcomers[hello.name] = Newcomer(peer, hello, now)
            self.outbox.append((known.peer, self._welcome()))
            return
        self._admit(now, peer, hello)

    def _refusal(self, hello: wire.Hello) -> wire.Refused | None:
        if hello.service != self.terms.service:
            words = f"this crawl is of {self.terms.service!r}, the worker of {hello.service!r}"
            return wire.Refused("service", words)
        parts = [hello.service, *(word for caller in hello.callers for word in (caller.who, caller.endpoint))]
        if not hello.name or any(" " in part or not part for part in parts):
            return wire.Refused("service", "a name, a caller or an endpoint is empty or holds a blank")
        if hello.name not in self.roster.by_name and len(self.roster.workers) >= self.terms.max_clients:
            return wire.Refused("full", f"{self.terms.max_clients} workers are here: raise --max-clients")
        return None

    def _admit(self, now: float, peer: bytes, hello: wire.Hello) -> None:
        worker = self.roster.join(peer, hello, now)
        self.budgets.report(self.terms.service, now, hello.budgets)
        self.outbox.append((peer, self._welcome()))
        if self.draining:
            self.outbox.append((peer, wire.Drain(self.lead.epoch)))
        self._listed(now, worker, hello.held)
        self._resend(now, worker, {item.token for item in hello.held})

    def _old_run_answered(self, worker: Worker) -> None:
        newcomer = self.roster.newcomers.get(worker.name)
        if newcomer is not None and newcomer.hello.run != worker.run:
            del self.roster.newcomers[worker.name]
            words = f"a worker named {worker.name!r} is at work: give this one another name"
            self.outbox.append((newcomer.peer, wire.Refused("name-in-use", words)))

    def _replace(self, now: float, name: str) -> None:
        newcomer = self.roster.newcomers.pop(name)
        old = self.roster.by_name.get(name)
        if old is not None:
            self._dispose(self.roster.leave(old), "lapsed")
        self._admit(now, newcomer.peer, newcomer.hello)

    def _listed(self, now: float, worker: Worker, held: list[wire.Spent]) -> None:
        """What a worker says that it holds: adopt what nobody had listed, revoke what is not known or does not move."""
        unknown = []
        for item in held:
            hand = self.roster.hands.get(item.token)
            if hand is None or (hand.peer not in (None, worker.peer) and hand.peer in self.roster.workers):
                unknown.append(item.token)
                continue
            if hand.peer != worker.peer:
                self.roster.give(hand, worker)
                hand.sent_at = now
            self._spent(hand, item.spent)
            if item.idle_ms > self.terms.progress_timeout * 1000 and not hand.ended:
                unknown.append(item.token)
                self._count("revoked")
                self._dispose([hand], "lapsed")
        for first in range(0, len(unknown), MAX_REVOKED):
            tokens = unknown[first : first + MAX_REVOKED]
            self.outbox.append((worker.peer, wire.Revoke(self.lead.epoch, tokens, "not yours, or no progress")))

    def _resend(self, now: float, worker: Worker, listed: set[str]) -> None:
        """Send again what was sent a while ago and the worker does not list: the frame was lost."""
        lost = []
        for token in sorted(worker.tokens - listed):
            hand = self.roster.hands[token]
            if not hand.ended and now - hand.sent_at > 2 * self.terms.heartbeat:
                hand.sent_at = now
                lost.append(_assignment(hand))
        if lost:
            self._count("jobs sent again", len(lost))
            self.outbox.append((worker.peer, wire.JobGiven(self.lead.epoch, lost)))

    def _step(self, now: float, peer: bytes, step: wire.Step) -> None:
        hand = self.roster.hands.get(step.token)
        if hand is None or step.step != hand.job.progress.steps + 1:
            self._pending.append(Pending(["X", step.token, step.step, None], peer=peer, hand=hand))
            return
        self._spent(hand, step.spent)
        job = hand.job
        segments = tuple(s for s in job.progress.segments if s.token != step.token)
        after = job.advanced(
            count=step.records, cursor=step.cursor, segments=(*segments, Segment(step.token, step.length))
        )
        more = self._assigner.top_up(now, hand)
        hand.stepping += 1
        found = self._discoveries(job, step.token, step.step, step.found)
        body = msgpack.packb([job.user, step.records, step.cursor])
        transition = ["P", step.token, step.step, step.records, pack_job(after), found]
        transition += [[f"{_TOPICS[job.operation]}.page", body], hand.budget, hand.granted + more]
        self._pending.append(
            Pending(transition, weight=len(step.found), peer=peer, hand=hand, after=after, topped_up=more)
        )

    def _end(self, now: float, peer: bytes, end: wire.End) -> None:
        hand = self.roster.hands.get(end.token)
        if hand is None:
            self._pending.append(Pending(["X", end.token, end.step, None], peer=peer))
            return
        self._spent(hand, end.spent)
        hand.ended = True
        if end.how == wire.DONE:
            self._done(peer, hand, end)
        elif end.how == wire.LIMITED:
            self._back(hand, "parked", peer)
        elif end.how == wire.LOST:
            self._fail(now, peer, hand, hand.job.lapsed().restarted(), end.words, final=False)
        else:
            self._fail(now, peer, hand, hand.job.failed(), end.words, final=False)

    def _done(self, peer: bytes, hand: Hand, end: wire.End) -> None:
        job = hand.job
        found = self._discoveries(job, end.token, end.step, end.found)
        queue, record = self._following(job)
        level = self.traversal.level(job) if job.operation is Operation.ANALYSE else ""
        outcome = end.outcome or Outcome.COMPLETE.value
        body = msgpack.packb([job.operation.value, job.user, outcome, end.records, job.depth, job.parent, hand.worker])
        transition = ["D", end.token, end.step, end.records, outcome, queue, record, self.traversal.front, level, found]
        transition.append(["job.done", body])
        self._pending.append(Pending(transition, weight=len(end.found), peer=peer, hand=hand))

    def _fail(self, now: float, peer: bytes | None, hand: Hand, after: Job, words: str, *, final: bool) -> None:
        field = f"{after.operation.value}:{after.user}"
        done = after.progress
        body = [after.operation.value, after.user, done.tries, words, hand.worker]
        if final or done.tries >= self.terms.job_tries or done.lapses >= self.terms.job_lapses:
            queue, record = self._following(hand.job)
            level = self.traversal.level(hand.job) if after.operation is Operation.ANALYSE else ""
            after = replace(hand.job, progress=replace(hand.job.progress, tries=done.tries, lapses=done.lapses))
            letter = msgpack.packb([pack_job(after), words.encode()[:4096]])
            transition: Transition = ["K", hand.token, field, letter, queue, record, self.traversal.front, level]
            transition.append(["job.dead", msgpack.packb(body)])
        else:
            transition = ["R", hand.token, field, pack_job(after), ["job.failed", msgpack.packb(body)]]
        self._pending.append(Pending(transition, peer=peer, hand=hand, after=after))

    def _following(self, job: Job) -> tuple[str, bytes]:
        following = job.following()
        return ("", b"") if following is None else (self.traversal.queue(following), pack_job(following))

    def _dispose(self, hands: list[Hand], reason: str) -> None:
        """Leases that nobody works on go back to the front of their queues."""
        for hand in hands:
            if hand.ended:
                continue
            hand.ended = True
            if reason == "lapsed" and not hand.stepping:
                after = hand.job.lapsed()
                if after.progress.lapses >= self.terms.job_lapses:
                    words = f"{after.progress.lapses} workers in a row vanished with it"
                    self._fail(0.0, None, hand, after, words, final=True)
                    continue
                self._back(hand, reason, None, after)
            else:
                self._back(hand, reason, None)

    def _back(self, hand: Hand, reason: str, peer: bytes | None, after: Job | None = None) -> None:
        record = pack_job(after) if after is not None else b""
        transition: Transition = ["B", hand.token, front_of(hand.job.operation), record, reason]
        self._pending.append(Pending(transition, peer=peer, hand=hand))

    # What the ledger answered.

    def _leased(self, now: float, wish: Wish, flat: list[Any]) -> None:
        worker = self.roster.workers.get(wish.peer)
        jobs = []
        for i in range(0, len(flat), 2):
            token, job = flat[i].decode(), unpack_job(flat[i + 1])
            hand = Hand(token, job, wish.worker, wish.budget, wish.granted, sent_at=now, moved_at=now)
            self.roster.hands[token] = hand
            if worker is None:  # it left while the commit was under way
                self._dispose([hand], "bye")
                continue
            self.roster.give(hand, worker)
            jobs.append(_assignment(hand))
        self._assigner.leased(wish, len(flat) // 2)
        if jobs:
            self.outbox.append((wish.peer, wire.JobGiven(self.lead.epoch, jobs)))

    def _settled(self, now: float, pending: Pending, status: int, verdicts: dict[bytes, list[wire.Verdict]]) -> None:
        kind, token, hand = pending.transition[0], pending.transition[1], pending.hand
        granted = 0
        if hand is not None and kind == "P":
            hand.stepping -= 1
        if hand is None:
            if status != 0:
                raise InconsistentError(f"the ledger holds the lease {token}, its leader does not know it")
        elif status == OK and kind == "P":
            assert pending.after is not None
            hand.job, hand.moved_at = pending.after, now
            hand.granted += pending.topped_up
            granted = hand.granted
        elif status == OK and kind in "DBRK":
            self._over(now, pending, hand)
        elif status == AGAIN and kind != "D":
            granted = hand.granted
            self._ungrant(hand, pending)
        elif status in (GAP, AGAIN):
            self._ungrant(hand, pending)
            hand.ended = True
            self._back(hand, "gap", None)
            if pending.peer is not None:
                self.outbox.append((pending.peer, wire.Revoke(self.lead.epoch, [token], "a step is missing")))
            return
        elif status == OK:  # part of the discoveries of a step
            return
        else:
            self._ungrant(hand, pending)
            if token in self.roster.hands:
                raise InconsistentError(f"the ledger does not hold the lease {token}, its leader does")
        if pending.peer is not None:
            step = pending.transition[2] if kind in "PDX" else 0
            accepted = wire.STALE if status == 0 else wire.ACCEPTED
            verdicts.setdefault(pending.peer, []).append(wire.Verdict(token, step, accepted, granted))

    def _over(self, now: float, pending: Pending, hand: Hand) -> None:
        self.roster.drop(hand.token)
        unspent = hand.granted - hand.spent
        if pending.peer is None:
            self.budgets.forfeit(hand.budget, unspent)
        else:
            self.budgets.settle(hand.budget, unspent)
        if pending.transition[0] == "R":
            assert pending.after is not None
            self._rest(now, pending.transition[2], pending.after)
        elif pending.transition[0] == "D" and (worker := self.roster.by_name.get(hand.worker)) is not None:
            worker.completed += 1

    def _ungrant(self, hand: Hand, pending: Pending) -> None:
        if pending.topped_up:
            self.budgets.settle(hand.budget, pending.topped_up)

    # Small things.

    def _rest(self, now: float, field: str, job: Job) -> None:
        delay = min(self.terms.retry_most, self.terms.retry_base * 2 ** max(0, job.progress.tries - 1))
        due = now + delay * (0.5 + self._chance.random())
        heapq.heappush(self._resting, (due, field, job.operation.value))

    def _discoveries(self, job: Job, token: str, step: int, found: list[str]) -> list[Any] | None:
        """The discoveries of a step; what is more than one commit takes goes ahead of it in commits of its own."""
        for first in range(0, len(found) - MAX_DISCOVERIES, MAX_DISCOVERIES):
            part = self.traversal.discoveries(job, found[first : first + MAX_DISCOVERIES])
            self._pending.append(
                Pending(["X", token, step, part], weight=MAX_DISCOVERIES, hand=self.roster.hands[token])
            )
        last = (len(found) - 1) // MAX_DISCOVERIES * MAX_DISCOVERIES if found else 0
        return self.traversal.discoveries(job, found[last:])

    def _spent(self, hand: Hand, spent: int) -> None:
        more = min(spent, hand.granted) - hand.spent
        if more > 0:
            hand.spent += more
            self.budgets.settle(hand.budget, more)

    def _welcome(self) -> wire.Welcome:
        return wire.Welcome(self.lead.incarnation, self.lead.epoch, self.terms.crawl, int(self.terms.heartbeat * 1000))

    def _tell_all(self, message: wire.Message) -> None:
        self.outbox += [(peer, message) for peer in self.roster.workers]

    def _count(self, what: str, by: int = 1) -> None:
        self.counted[what] = self.counted.get(what, 0) + by


_TOPICS = {
    Operation.TIMELINE: "timeline",
    Operation.UPDATE: "timeline",
    Operation.FOLLOWER: "followers",
    Operation.ANALYSE: "user",
}


def _assignment(hand: Hand) -> wire.Assignment:
    done = hand.job.progress
    return wire.Assignment(
        hand.token,
        hand.job.operation.value,
        hand.job.user,
        hand.job.depth,
        done.steps,
        done.count,
        done.cursor,
        [[segment.token, segment.length] for segment in done.segments],
        hand.budget.split(" ")[1],
        hand.granted,
    )
