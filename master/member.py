"""One master of a crawl, alone or in a pair: standby, leader, and the changes between. No socket, no clock, no Redis.

Messages, ticks and the ledger's answers go in; messages to send and questions to the ledger come out. The loop, real
or simulated, calls

    receive(now, peer, message)     for each waiting frame
    tick(now)
    question = question(now)        when none is in flight; sent to the ledger
    further(now)                    when one is: the next commit, pipelined behind it
    answered(now, answer)           or failed(now, error), for each question in order
    outbox, to_peer                 messages to send, emptied by the loop
    ending                          set when this master is to leave

`master.leadership.election` decides who leads, `dispatcher` which worker gets a job; this file connects them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from master.dispatch.dispatcher import Dispatch
from master.dispatch.registration import STRANGER
from master.dispatch.snapshot import InconsistentError, LedElsewhereError
from master.leadership.election import Act, Election, ElectionEvent, Peer, Role
from master.leadership.known_workers import Pair, StandbyState
from master.leadership.ledger_calls import Commit, Ending, GiveBack, Leadership, Observe, Question, Take
from master.ledger_health import Health
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.errors import FencedError, TmaticError
from storage.ledger.ledger import AGAIN, Reply
from storage.ledger.transitions import EmptySet, Transition

LOOK_S = 0.05
"""How often a standby reads the lead."""
LOOK_ALONE_S = 0.1
"""How often a master without a peer does."""
PEER_WORD_S = 0.05
"""How often a master of a pair reports its state."""
LOOK_ROUND_S = 0.05
"""How often all workers and leases are checked: a thousand of them at each turn would slow all turns."""
ABLE_S = 1.0
"""The maximum age of the ledger's last answer to a master that could lead."""
WANTED_S = 5.0
"""How long an operator's request for a hand-over waits for a leader that can grant it."""
AGAIN_S = 0.1
"""How long a master of a pair waits before it retries a ledger that did not serve."""
AGAIN_ALONE_S = 0.5
"""How long a master without a peer does."""


@dataclass(slots=True)
class Member:
    """One master. `lead` makes the dispatch of a leadership, `close` the transitions that are committed when nothing is
    left to do, and `new_incarnation` an unused name."""

    policy: CrawlPolicy
    lead: Callable[[float, Leadership], Dispatch]
    close: Callable[[Leadership], list[Transition]]
    new_incarnation: Callable[[], str]
    pair: Pair | None = None
    outbox: list[tuple[bytes, wire.Message]] = field(default_factory=list)
    to_peer: list[wire.PeerWord] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)  # which may repeat
    news: list[str] = field(default_factory=list)  # each occurs once
    ending: Ending | None = None
    finished: bool = False
    """Nothing is left to do, and the ledger confirms it: the loop does the rest, and then calls `leave`."""
    health: Health = field(default_factory=Health)
    dispatch: Dispatch | None = None
    leadership: Leadership | None = None
    election: Election = field(init=False)
    standby: StandbyState = field(init=False)
    takeovers: list[tuple[float, int, str]] = field(default_factory=list)
    """When this master took the lead, in which epoch, and why."""
    _under_way: deque[Question] = field(default_factory=deque)
    _asked_at: float = 0.0
    _ask_at: float = float("-inf")
    _word_at: float = float("-inf")
    _looked_at: float = float("-inf")
    _leave: Ending | None = None
    _give_way: str = ""
    _wanted_until: float = float("-inf")
    _before: Dispatch | None = None
    _closing: deque[Transition] | None = None
    _epoch: int = 0
    _ledger_id: str = ""

    def __post_init__(self) -> None:
        self.election = Election(paired=self.pair is not None)
        self.standby = StandbyState(self.policy)

    @property
    def epoch(self) -> int:
        """The highest epoch that this master knows."""
        return self._epoch

    @property
    def ledger_id(self) -> str:
        """The id of the crawl's ledger, "" while it is unknown."""
        return self._ledger_id

    # Input.

    def receive(self, now: float, peer: bytes, message: wire.Message) -> None:
        """One message from a worker or from the other master."""
        if isinstance(message, wire.PeerWord):
            self._peer_word(now, message)
            return
        leads = self.dispatch is not None and self.election.role is Role.LEADING
        known = self.standby.hear(now, peer, message, leads=leads)
        if self.dispatch is not None and leads:
            self.dispatch.receive(now, peer, message)
        elif self.dispatch is None and self.pair is not None and not isinstance(message, wire.Bye):
            self.outbox.append((peer, self._standby_word() if known else STRANGER))

    def unreachable(self, now: float, peer: bytes) -> None:
        """A message could not be sent: that routing id is not connected any more."""
        if self.dispatch is not None:
            self.dispatch.unreachable(now, peer)

    def cut(self, peer: bytes) -> None:
        """The key of that routing id was revoked: its leases go to others."""
        self.standby.workers.pop(peer, None)
        if self.dispatch is not None:
            self.dispatch.cut(peer)

    def tick(self, now: float) -> None:
        """Handle the clock."""
        role, look = self.election.role, now - self._looked_at >= LOOK_ROUND_S
        if look:
            self._looked_at = now
            self.standby.tick(now)
        if role is Role.LEADING and self.dispatch is not None and self.leadership is not None:
            if look:
                self.dispatch.tick(now)
                if self.election.cut_off(now, self.standby.lately(now)):
                    self._give_way = "its workers reach only the other master"
            if self.election.outranked(self.leadership.lead.epoch):
                self._do(now, self.election.step(now, ElectionEvent.OUTRANKED))
        if self._leave is not None and not self._under_way and role in (Role.STANDBY, Role.LEADING, Role.YIELDING):
            self._do(now, self.election.step(now, ElectionEvent.LEAVE, "told to stop"))
        elif self._give_way and not self._under_way and role is Role.LEADING:
            self._do(now, self.election.step(now, ElectionEvent.GIVE_WAY, self._give_way))
        if self.pair is not None and now - self._word_at >= PEER_WORD_S:
            self._say_to_peer(now)
        self._empty_outbox()

    def leave(self, ending: Ending) -> None:
        """Make this master leave: it releases the lead first, if it has it."""
        self._leave = ending

    @property
    def leaving(self) -> bool:
        """Whether it is leaving, or was told to leave."""
        return self._leave is not None

    def promote(self, now: float) -> str:
        """The operator requests a hand-over: a standby requests the lead from the leader, a leader gives it to its
        peer. Returns why that is impossible, or ""."""
        if self.pair is None:
            return "this master has no peer: start both with --ha"
        if self.election.peer.silent(now):
            return f"the other master, {self.pair.peer}, does not answer"
        if self.election.role is not Role.LEADING:
            self._wanted_until = now + WANTED_S
            self._say_to_peer(now)
        elif not self.election.peer.could_lead(now):
            return f"the other master, {self.pair.peer}, does not reach the ledger"
        else:
            self._give_way = "a person asked for it"
        return ""

    # The ledger.

    def question(self, now: float) -> Question | None:
        """The next question to the ledger. None while there is none, or an answer is pending."""
        if self._under_way:
            return None
        asked = self._next(now)
        if asked is not None:
            self._under_way.append(asked)
            self._asked_at = now
        self._empty_outbox()
        return asked

    def further(self, now: float) -> Commit | None:
        """A full commit to pipeline behind the one in flight, so that the ledger need not wait for this master. Its
        beat is the one that the first writes, so it is refused if that one is. None while there is none."""
        match list(self._under_way):
            case [Commit(closing=False) as first] if self._is_mine(first) and self.election.role is Role.LEADING:
                if self.dispatch is not None and self.dispatch.full and not (self._leave or self._give_way):
                    asked = self._next_commit(now)
                    assert asked is not None, "a batch that is full is one"
                    self._under_way.append(asked)
                    return asked
        return None

    @property
    def eager(self) -> bool:
        """Whether the next question can be sent at once."""
        if self._under_way:
            return False
        if self.election.role is Role.LEADING:
            return self.dispatch is not None and self.dispatch.eager
        return self.election.role in (Role.TAKING, Role.YIELDING, Role.LEAVING)

    def _next(self, now: float) -> Question | None:
        match self.election.role:
            case Role.STANDBY if now >= self._ask_at:
                return Observe()
            case Role.TAKING:
                seen = self.election.seen
                assert seen is not None, "the lead is taken from what was seen of it"
                incarnation = self.new_incarnation()
                self.election.use(incarnation)
                return Take(seen, incarnation, self.election.peer.witness(seen.epoch), self.election.why)
            case Role.LEADING:
                return self._next_commit(now)
            case Role.YIELDING | Role.LEAVING:
                assert self.leadership is not None
                lead = self.leadership.lead
                ended = self._leave.value if self._leave is not None else ""
                return GiveBack(lead.incarnation, self.leadership.beat, ended)
        return None

    def _next_commit(self, now: float) -> Commit | None:
        assert self.dispatch is not None and self.leadership is not None
        leadership, closing = self.leadership, False
        if self.dispatch.idle and not self.dispatch.draining:
            if self._closing is None:
                self._closing = deque(self.close(leadership))
            closing = bool(self._closing)
            self.finished = not closing
        elif self.dispatch.idle and self._leave is None:
            self.leave(Ending.DRAINED)
        batch = [self._closing[0]] if closing and self._closing else self.dispatch.next_batch(now)
        if batch is None:
            return None
        plan = leadership.plan
        newcomers = plan.widening_family if plan.widening else ""
        beat, passed = leadership.beat + len(self._under_way), self.dispatch.readers.passed
        return Commit(leadership.lead.incarnation, beat, batch, self.dispatch.queues, newcomers, closing, passed)

    def answered(self, now: float, answer: Any) -> None:
        """The ledger answered the first question in flight."""
        asked = self._under_way.popleft() if self._under_way else None
        self.health.answered(now, answer if isinstance(asked, Observe) else None)
        match asked:
            case Observe():
                self._ask_at = now + (LOOK_S if self.pair is not None else LOOK_ALONE_S)
                self._epoch, self._ledger_id = max(self._epoch, answer.epoch), answer.ledger_id
                act = self.election.read(now, answer, now - self._asked_at)
                if act is Act.STOP:
                    self._leave = Ending(answer.ended)
                self._do(now, act)
            case Take():
                self._taken(now, answer)
            case Commit() if self._is_mine(asked):
                assert self.leadership is not None
                self.leadership.beat += 1
                if asked.closing:
                    self._closed(asked.batch[0], answer.statuses[0])
                else:
                    self._committed(now, answer)
            case GiveBack() if self._is_mine(asked):
                self._do(now, self.election.step(now, ElectionEvent.GIVEN_BACK))
        self._empty_outbox()

    def _closed(self, transition: Transition, status: int) -> None:
        """A closing transition is done; a large set is emptied by several."""
        assert self._closing is not None
        self._closing.popleft()
        if isinstance(transition, EmptySet) and status == AGAIN:
            self._closing.appendleft(transition._replace(first=transition.first + transition.buckets))

    def failed(self, now: float, error: TmaticError) -> None:
        """A question failed: the ledger refused it, or did not serve."""
        asked = self._under_way.popleft() if self._under_way else None
        refused = isinstance(error, FencedError)
        if not refused:
            self.health.failed(str(error), write=not isinstance(asked, Observe))
        again_s = AGAIN_S if self.pair is not None else AGAIN_ALONE_S
        match asked:
            case Observe():
                self._ask_at = now + again_s
                self._do(now, self.election.unanswered(now))
            case Take():
                self._ask_at = now + (0.0 if refused else again_s)
                self._do(
                    now, self.election.step(now, ElectionEvent.REFUSED if refused else ElectionEvent.AWAY, str(error))
                )
            case Commit() | GiveBack() if self._is_mine(asked):
                self._ask_at = now + (0.0 if refused or isinstance(error, InconsistentError) else again_s)
                self._do(
                    now, self.election.step(now, ElectionEvent.REFUSED if refused else ElectionEvent.AWAY, str(error))
                )
        self._empty_outbox()

    def _is_mine(self, asked: Commit | GiveBack) -> bool:
        """Whether the leadership that asked is still the current one: it may have ended in the meantime."""
        return self.leadership is not None and self.leadership.lead.incarnation == asked.incarnation

    def _taken(self, now: float, leadership: Leadership) -> None:
        why = self.election.why
        before = self._before if self.election.seen_is_own else None
        self._before = None
        self.leadership, self._closing, self.finished = leadership, None, False
        self._epoch, self._ledger_id = leadership.lead.epoch, leadership.lead.ledger_id
        self._wanted_until, self._give_way = float("-inf"), ""
        self._do(now, self.election.step(now, ElectionEvent.TAKEN))
        self.takeovers.append((now, leadership.lead.epoch, why))
        self.dispatch = self.lead(now, leadership)
        self.dispatch.events += leadership.said
        self.dispatch.inherit(self.standby.budgets, before)
        self.standby.budgets = self.dispatch.budgets
        self.dispatch.expect(now, self.standby.expected())
        if self.election.peer.draining:
            self.dispatch.drain()
        if self.pair is not None:
            self._say_to_peer(now)

    def _committed(self, now: float, reply: Reply) -> None:
        assert self.dispatch is not None
        try:
            self.dispatch.committed(now, reply)
        except InconsistentError as error:
            self.complaints.append(str(error))
            self._ask_at = now
            self._do(now, self.election.step(now, ElectionEvent.REFUSED, str(error)))

    # Actions.

    def _do(self, now: float, act: Act) -> None:
        match act:
            case Act.STEP_DOWN:
                self._empty_outbox()
                self._before, self.dispatch, self.leadership = self.dispatch, None, None
                self._give_way, self.finished = "", False
                if self._leave is not Ending.STOPPED:
                    self._leave = None  # whether the crawl is done is uncertain
                if self.pair is not None:
                    self._say_to_peer(now)
                    self.outbox += [(peer, self._standby_word()) for peer in self.standby.workers]
            case Act.STOP:
                self.ending = self._leave
                if self.pair is not None:
                    self._say_to_peer(now)
            case Act.COMPLAIN:
                assert self.election.seen is not None
                raise LedElsewhereError(
                    f"crawl {self.policy.crawl!r} is led by master {self.election.seen.name}, which is at work: "
                    "stop that one first, begin another crawl by --crawl NAME, or start both as a pair by --ha"
                )
            case _:
                pass

    def _peer_word(self, now: float, word: wire.PeerWord) -> None:
        if self.pair is None or word.ha == self.pair.number or word.crawl != self.policy.crawl:
            return
        if word.ledger and self._ledger_id and word.ledger != self._ledger_id:
            return
        led = self.election.peer.leads
        self.election.peer = Peer(now, bool(word.leads), word.epoch, word.workers, bool(word.able), bool(word.draining))
        if led and not word.leads:
            self._ask_at = now  # the peer released or lost the lead: read it at once
        if word.wants and word.able and self.election.role is Role.LEADING:
            self._give_way = "a person asked for it"

    def _say_to_peer(self, now: float) -> None:
        assert self.pair is not None
        self._word_at = now
        leadership = self.leadership if self.election.role is Role.LEADING else None
        self.to_peer.append(
            wire.PeerWord(
                self.pair.number,
                self.pair.address,
                self.policy.crawl,
                self._ledger_id,
                int(leadership is not None),
                leadership.lead.epoch if leadership is not None else self._epoch,
                leadership.beat if leadership is not None else 0,
                self.standby.lately(now),
                int(now - self.health.answered_at <= ABLE_S),
                int(now < self._wanted_until),
                int(self.dispatch is not None and self.dispatch.draining),
            )
        )

    def _standby_word(self) -> wire.StandbyNotice:
        assert self.pair is not None
        leader = self.pair.peer if self.election.peer.leads else ""
        heartbeat_ms = int(self.policy.heartbeat * 1000)
        return wire.StandbyNotice(self._epoch, leader, self.policy.crawl, heartbeat_ms, self._ledger_id)

    def _empty_outbox(self) -> None:
        """Append the messages of dispatch to those of this master."""
        if self.dispatch is not None:
            self.outbox += self.dispatch.outbox
            self.dispatch.outbox = []
            self.news += self.dispatch.breakers.notices
            self.dispatch.breakers.notices = []
