"""A master in the simulation: the real `Member`, with the ledger's thread as events on the virtual clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from master.dispatch.dispatcher import Dispatch
from master.dispatch.snapshot import InconsistentError, Snapshot
from master.frontier.plan import Plan
from master.frontier.seed_files import targets
from master.leadership.election import Role
from master.leadership.known_workers import Pair
from master.leadership.ledger_calls import Commit, Ending, GiveBack, Leadership, Observe, Question, Take
from master.member import Member
from protocol import messages as wire
from protocol.errors import FencedError, LedgerError, TmaticError
from protocol.jobs import Operation
from storage.ledger.ledger import Reply
from storage.ledger.transitions import Finish, StorePage
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.cluster import Simulation

ANSWER_TIMEOUT_S = 2.0
LOOK_TIMEOUT_S = 0.5


class SimulatedMaster:
    """One master, over all its lives. `clock` is how far its own clock is ahead of the cluster's."""

    def __init__(self, cluster: Simulation, number: int, *, paired: bool) -> None:
        self.cluster, self.number, self.paired = cluster, number, paired
        self.name = f"m{number}"
        self.clock = cluster.chance.random() * 1000
        self.life = 0
        self.alive = False
        self.over = False
        self.stopped_until = 0.0
        self.incarnations = 0
        self.member: Member = None  # type: ignore[assignment]
        self._asked: deque[Question] = deque()

    @property
    def now(self) -> float:
        return self.cluster.now + self.clock

    @property
    def leads(self) -> bool:
        """Whether it leads, by the ledger's word too."""
        return (
            self.alive
            and self.member.election.role is Role.LEADING
            and self.member.leadership is not None
            and self.cluster.ledger.last_taken == self.member.leadership.lead.incarnation
        )

    def start(self) -> None:
        """A new process."""
        if self.over or self.alive:
            return
        self.life += 1
        self.alive, self.stopped_until = True, 0.0
        self._asked.clear()
        pair = Pair(self.number, f"{self.name}:1", f"m{1 - self.number}:1") if self.paired else None
        self.member = self.cluster.make_member(
            self.cluster.policy, self._dispatch, lambda _leadership: [], self._incarnation, pair
        )
        self._tick()

    def kill(self) -> None:
        """kill -9, and a new process a while later."""
        if self.alive:
            self.alive = False
            self.life += 1
            self.cluster.after(0.2 + self.cluster.chance.random(), self.start)

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later: what comes meanwhile waits."""
        self.stopped_until = max(self.stopped_until, self.cluster.now + seconds)

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Something happens to this process then, if it still is this one; if it is stopped, when it goes on."""
        life = self.life

        def happen() -> None:
            if life != self.life or not self.alive:
                return
            if self.cluster.now < self.stopped_until:
                self.cluster.after(self.stopped_until - self.cluster.now, happen)
                return
            action()

        self.cluster.after(delay, happen)

    def receive(self, peer: bytes, message: wire.Message) -> None:
        self.member.receive(self.now, peer, message)
        self._pump()

    def unreachable(self, peer: bytes) -> None:
        self.member.unreachable(self.now, peer)

    def _incarnation(self) -> str:
        self.incarnations += 1
        return f"{self.name}.{self.life}.{self.incarnations}"

    def _dispatch(self, now: float, leadership: Leadership) -> Dispatch:
        cluster = self.cluster
        dispatch = cluster.make_dispatch(
            leadership.lead, cluster.traversal, cluster.policy, leadership.snapshot, now, cluster.chance
        )
        dispatch.intake = targets(cluster.targets, cluster.traversal, "seen")
        dispatch.filled_by = cluster.filled_by
        return dispatch

    def _tick(self) -> None:
        self.member.tick(self.now)
        self._pump()
        self.later(0.02, self._tick)

    def _pump(self) -> None:
        """Send what is to be sent; then ask the ledger what is to be asked."""
        if not self._send():
            return
        if self.member.ending is not None:
            self.alive, self.over = False, True
            self.cluster.ended(self)
            return
        if self.member.finished:
            self.member.leave(Ending.DONE)
        question = self.member.further(self.now) if self._asked else self.member.question(self.now)
        if not self._send():
            return
        if question is not None:
            self._asked.append(question)
            if len(self._asked) == 1:
                self._put(question)
            else:
                self.cluster.coverage["commit behind a commit"] += 1

    def _send(self) -> bool:
        """Empty both outboxes. False if the process died over it."""
        words, self.member.to_peer = self.member.to_peer, []
        for word in words:
            self.cluster.to_peer(self, word)
        messages, self.member.outbox = self.member.outbox, []
        for peer, message in messages:
            if self.cluster.cut_outbox is not None:
                self.cluster.cut_outbox -= 1
                if self.cluster.cut_outbox < 0:
                    self.cluster.cut_outbox = None
                    self.kill()
                    return False
            self.cluster.to_worker(self, peer, message)
        return True

    # The ledger.

    def _put(self, question: Question) -> None:
        """The request crosses to the server, is done there, and its answer comes back; each may be cut short."""
        cluster = self.cluster
        cut = ""
        if isinstance(question, Commit) and cluster.cut_reply:
            counted_on = any(isinstance(transition, StorePage | Finish) for transition in question.batch)
            if cluster.cut_reply not in ("after", "die") or counted_on:
                cut, cluster.cut_reply = cluster.cut_reply, ""
        if cut == "before":
            self.later(0.01, lambda: self._failed(LedgerError("the connection broke")))
            return
        if cut == "late":  # the request lies in a buffer, and reaches the server when another may have the lead
            cluster.after(0.2 + cluster.chance.random(), lambda: self._too_late(question))
            self.later(0.01, lambda: self._failed(LedgerError("the connection broke")))
            return
        life = self.life
        timeout = LOOK_TIMEOUT_S if isinstance(question, Observe) else ANSWER_TIMEOUT_S

        settled = False

        def settle(delay: float, action: Callable[[], None]) -> None:
            """The process hears of it, once: an answer, or that there is none."""
            nonlocal settled
            if not settled and life == self.life:
                settled = True
                self.later(delay, action)

        def unanswered() -> None:
            self._failed(LedgerError("the ledger does not answer"))

        def arrive(*, waited: bool = False) -> None:
            stall = cluster.redis_stalled_until - cluster.now
            if stall > 0:  # it is done when the server goes on, though nobody may wait for it any more
                if stall > timeout and not waited:
                    self.later(timeout, lambda: settle(0.0, unanswered))
                cluster.after(stall, lambda: arrive(waited=True))
                return
            if cluster.is_cut(self.name, "redis"):
                settle(timeout, unanswered)
                return
            answer: Any = None
            refusal: TmaticError | None = None
            try:
                answer = self._carry_out(question)
            except TmaticError as error:
                refusal = error  # the name of an except clause is gone when it is left
            if cut == "die" and life == self.life:  # committed, and nobody is told
                self.kill()
            elif cut == "after" or cluster.is_cut("redis", self.name):
                settle(0.01 if cut else timeout, unanswered)
            elif (why := refusal) is not None:
                settle(0.001 + cluster.chance.random() * 0.004, lambda: self._failed(why))
            else:
                settle(0.001 + cluster.chance.random() * 0.004, lambda: self._answered(question, answer))

        # The request is on its way whatever becomes of who sent it.
        cluster.after(0.001 + cluster.chance.random() * 0.002, arrive)

    def _carry_out(self, question: Question) -> Any:
        """What the server does."""
        cluster, ledger = self.cluster, self.cluster.ledger
        match question:
            case Observe():
                return ledger.observe()
            case Take(seen, incarnation, witness, _why):
                lead = ledger.take(
                    incarnation,
                    seen,
                    witness=max(witness, cluster.dataset.epoch),
                    ledger_id="L",
                    name=self.name,
                )
                cluster.new_epoch(lead.epoch)
                reply = ledger.commit(lead.incarnation, 1, [], [f"front:{op.value}" for op in Operation])
                snapshot = Snapshot(ledger.held(), ledger.retry(), reply)
                walk = cluster.traversal
                return Leadership(lead, Plan(walk.operations, walk.traversing, walk.depth), snapshot, 2)
            case Commit():
                reply = ledger.commit(question.incarnation, question.beat, question.batch, question.queues)
                cluster.cover(question.batch, reply)
                return reply
            case GiveBack():
                ledger.release(question.incarnation, question.beat, ended=question.ended)
                return None

    def _too_late(self, question: Question) -> None:
        assert isinstance(question, Commit)
        try:
            reply: Reply = self.cluster.ledger.commit(
                question.incarnation, question.beat, question.batch, question.queues
            )
            self.cluster.cover(question.batch, reply)
            self.cluster.coverage["late commit accepted"] += 1
        except FencedError:
            self.cluster.coverage["late commit refused"] += 1

    def _answered(self, question: Question, answer: Any) -> None:
        self._asked.popleft()
        if self._asked:  # The thread goes on before the loop hears of it.
            self._put(self._asked[0])
        before = len(self.member.complaints)
        self.member.answered(self.now, answer)
        if isinstance(question, Take):
            self.cluster.coverage["lead taken"] += 1
        differs = [words for words in self.member.complaints[before:] if "leader" in words and "ledger" in words]
        if differs and not self.cluster.may_differ(question):
            raise Violation(f"ledger and leader differ: {differs[0]}")
        self._pump()

    def _failed(self, error: TmaticError) -> None:
        assert not isinstance(error, InconsistentError)
        while self._asked:  # What was put behind it is not asked any more.
            self._asked.popleft()
            self.member.failed(self.now, error)
        self._pump()
