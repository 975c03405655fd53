"""Leader election: one master's part in it, alone or as one of a pair. No clock, no I/O.

Rules it keeps:
  * The lease in the ledger decides. The lead is taken only by compare-and-set on the beat that was read; the peer's
    messages only make it quicker, and a wrong guess costs a short pause: the loser's next write is refused.
  * The lease (Gray and Cheriton, 1989) has no deadline in the ledger, since a server's clock jumps. It lapses for an
    observer that read the same beat over `LAPSE_S` of its own monotonic clock, in at least `READS` answers, none late
    and none missing between; over `QUICK_LAPSE_S` when the peer is silent too, or reports that it does not lead.
  * A released lead is free at once. A master that gave way leaves it to its peer for `YIELD_S`.
  * There is no automatic fail-back: the leader continues until it fails, is told to give way, or its workers are cut
    off while they reach the peer.
  * A crawl that ended is over for every master that watched it: a standby leaves, and does not lead a finished crawl.
    It has ended when the ledger says so; a master that could not write that reads the lead again.
  * Without a peer, another live master is a user error: it is reported after `PATIENCE_S`.

`TABLE` is the whole state machine: role and event give the next role and the action. The diagram in
`docs/architecture.md` is drawn from it, and the property tests walk it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from storage.ledger.ledger import Lead

LAPSE_S = 1.0
QUICK_LAPSE_S = 0.3
READS = 3
LATE_S = 0.25
"""An answer that took longer says too little about the present: it restarts the watch."""
PATIENCE_S = 5.0
YIELD_S = 1.0
PEER_SILENCE_S = 0.3
MAX_EPOCHS_AHEAD = 1_000_000
"""How far a peer's message can raise the epoch: a forged message must not exhaust the numbers."""
CUT_OFF_S = 3.0
"""How long a leader that no worker reaches waits, while workers reach its peer."""


class Role(Enum):
    """The role of a master."""

    STANDBY = "standby"
    TAKING = "taking the lead"
    LEADING = "leading"
    YIELDING = "giving way"
    LEAVING = "leaving"
    OVER = "over"


class ElectionEvent(Enum):
    """The events that change the role."""

    BEAT = "the lead is held, and may be alive"
    FREE = "nobody leads"
    LAPSED = "the beat stood still too long"
    ENDED = "the crawl has ended"
    KEPT = "another master, which is no peer, keeps the lead"
    TAKEN = "the ledger gave the lead"
    REFUSED = "the ledger refused"
    AWAY = "the ledger did not serve"
    OUTRANKED = "the peer leads a higher epoch"
    GIVE_WAY = "told to give way, or cut off from the workers"
    LEAVE = "told to stop, or nothing is left to do"
    GIVEN_BACK = "the ledger has the lead back"


class Act(Enum):
    """The action to take."""

    WAIT = "wait"
    TAKE = "take the lead"
    LEAD = "lead"
    STEP_DOWN = "step down"
    GIVE_BACK = "give the lead back"
    STOP = "stop"
    COMPLAIN = "say that another leads, and stop"


TABLE: dict[tuple[Role, ElectionEvent], tuple[Role, Act]] = {
    (Role.STANDBY, ElectionEvent.BEAT): (Role.STANDBY, Act.WAIT),
    (Role.STANDBY, ElectionEvent.AWAY): (Role.STANDBY, Act.WAIT),
    (Role.STANDBY, ElectionEvent.FREE): (Role.TAKING, Act.TAKE),
    (Role.STANDBY, ElectionEvent.LAPSED): (Role.TAKING, Act.TAKE),
    (Role.STANDBY, ElectionEvent.ENDED): (Role.OVER, Act.STOP),
    (Role.STANDBY, ElectionEvent.KEPT): (Role.OVER, Act.COMPLAIN),
    (Role.STANDBY, ElectionEvent.OUTRANKED): (Role.STANDBY, Act.WAIT),
    (Role.STANDBY, ElectionEvent.GIVE_WAY): (Role.STANDBY, Act.WAIT),
    (Role.STANDBY, ElectionEvent.LEAVE): (Role.OVER, Act.STOP),
    (Role.TAKING, ElectionEvent.TAKEN): (Role.LEADING, Act.LEAD),
    (Role.TAKING, ElectionEvent.REFUSED): (Role.STANDBY, Act.WAIT),
    (Role.TAKING, ElectionEvent.AWAY): (Role.STANDBY, Act.WAIT),
    (Role.TAKING, ElectionEvent.OUTRANKED): (Role.TAKING, Act.WAIT),
    (Role.TAKING, ElectionEvent.GIVE_WAY): (Role.TAKING, Act.WAIT),
    (Role.TAKING, ElectionEvent.LEAVE): (Role.TAKING, Act.WAIT),
    (Role.LEADING, ElectionEvent.REFUSED): (Role.STANDBY, Act.STEP_DOWN),
    (Role.LEADING, ElectionEvent.AWAY): (Role.STANDBY, Act.STEP_DOWN),
    (Role.LEADING, ElectionEvent.OUTRANKED): (Role.STANDBY, Act.STEP_DOWN),
    (Role.LEADING, ElectionEvent.GIVE_WAY): (Role.YIELDING, Act.GIVE_BACK),
    (Role.LEADING, ElectionEvent.LEAVE): (Role.LEAVING, Act.GIVE_BACK),
    (Role.YIELDING, ElectionEvent.GIVEN_BACK): (Role.STANDBY, Act.STEP_DOWN),
    (Role.YIELDING, ElectionEvent.REFUSED): (Role.STANDBY, Act.STEP_DOWN),
    (Role.YIELDING, ElectionEvent.AWAY): (Role.STANDBY, Act.STEP_DOWN),
    (Role.YIELDING, ElectionEvent.OUTRANKED): (Role.STANDBY, Act.STEP_DOWN),
    (Role.YIELDING, ElectionEvent.GIVE_WAY): (Role.YIELDING, Act.WAIT),
    (Role.YIELDING, ElectionEvent.LEAVE): (Role.LEAVING, Act.WAIT),
    (Role.LEAVING, ElectionEvent.GIVEN_BACK): (Role.OVER, Act.STOP),
    (Role.LEAVING, ElectionEvent.REFUSED): (Role.STANDBY, Act.STEP_DOWN),
    (Role.LEAVING, ElectionEvent.AWAY): (Role.STANDBY, Act.STEP_DOWN),
    (Role.LEAVING, ElectionEvent.OUTRANKED): (Role.LEAVING, Act.WAIT),
    (Role.LEAVING, ElectionEvent.GIVE_WAY): (Role.LEAVING, Act.WAIT),
    (Role.LEAVING, ElectionEvent.LEAVE): (Role.LEAVING, Act.WAIT),
}
"""Every possible pair. A missing one is a bug, and raises KeyError."""


@dataclass(slots=True)
class Peer:
    """The other master of the pair, as it last reported. `workers` are those that it heard lately; `able`: the ledger
    answered it lately."""

    heard_at: float = float("-inf")
    leads: bool = False
    epoch: int = 0
    workers: int = 0
    able: bool = False
    draining: bool = False

    def silent(self, now: float) -> bool:
        """Whether it, or the link to it, is dead."""
        return now - self.heard_at > PEER_SILENCE_S

    def witness(self, epoch: int) -> int:
        """The highest epoch that it reported, for a ledger that knows this one."""
        return min(self.epoch, epoch + MAX_EPOCHS_AHEAD)

    def could_lead(self, now: float) -> bool:
        """Whether it can take the lead."""
        return self.able and not self.leads and not self.silent(now)


@dataclass(slots=True)
class Election:
    """One master's role, and why. `paired`: there may be a peer."""

    paired: bool = False
    role: Role = Role.STANDBY
    peer: Peer = field(default_factory=Peer)
    seen: Lead | None = None
    why: str = ""
    """Why the lead was last taken or lost."""
    _own: set[str] = field(default_factory=set)
    _since: float = 0.0
    _reads: int = 0
    _watched: bool = False
    _alive_since: float | None = None
    _yields_until: float = float("-inf")
    _reached_at: float = 0.0

    def step(self, now: float, event: ElectionEvent, why: str = "") -> Act:
        """Change the role. `why` is shown to people."""
        before = self.role
        self.role, act = TABLE[before, event]
        if act in (Act.TAKE, Act.STEP_DOWN, Act.GIVE_BACK, Act.COMPLAIN):
            self.why = why or event.value
        if act is Act.LEAD:
            self._reached_at = now
            self._watched = self.paired
        if act is Act.STEP_DOWN:
            self._forget()
            if before is Role.YIELDING:
                self._yields_until = now + YIELD_S
        return act

    # Answers of the ledger.

    def read(self, now: float, lead: Lead, took_s: float) -> Act:
        """The lead as a standby just read it, and how long the answer took."""
        event = self._judge(now, lead, took_s)
        return self.step(now, event, self._reason(event))

    def _judge(self, now: float, lead: Lead, took_s: float) -> ElectionEvent:
        if lead.ended and self._watched:
            return ElectionEvent.ENDED
        if not lead.incarnation:
            self.seen = lead
            return ElectionEvent.BEAT if now < self._yields_until and self.peer.could_lead(now) else ElectionEvent.FREE
        if lead.incarnation in self._own:  # this master's connection broke, or its write failed
            self.seen = lead
            return ElectionEvent.FREE
        self._watched = self._watched or self.paired
        if self.seen is None or (lead.incarnation, lead.beat) != (self.seen.incarnation, self.seen.beat):
            if self.seen is not None and self._alive_since is None:
                self._alive_since = now
            self.seen, self._since, self._reads = lead, now, 0
        elif took_s > LATE_S:
            self._since, self._reads = now, 0
        self._reads += 1
        still = now - self._since
        if (
            not self.paired
            and self._alive_since is not None
            and now - self._alive_since > PATIENCE_S
            and still < LAPSE_S
        ):
            return ElectionEvent.KEPT
        alone = self.paired and (self.peer.silent(now) or not self.peer.leads)
        return (
            ElectionEvent.LAPSED
            if self._reads >= READS and still >= (QUICK_LAPSE_S if alone else LAPSE_S)
            else ElectionEvent.BEAT
        )

    def _reason(self, event: ElectionEvent) -> str:
        if event is ElectionEvent.LAPSED and self.seen is not None:
            return f"the beat of {self.seen.name} stood still"
        if event is ElectionEvent.FREE and self.seen is not None:
            if self.seen.incarnation:
                return "its own lead was in doubt"
            return f"{self.seen.name} gave the lead back" if self.seen.name else "nobody led"
        return ""

    def unanswered(self, now: float) -> Act:
        """The ledger did not answer: what was observed so far is void."""
        self._forget()
        return self.step(now, ElectionEvent.AWAY)

    @property
    def seen_is_own(self) -> bool:
        """Whether the lead last read is an earlier one of this master."""
        return self.seen is not None and self.seen.incarnation in self._own

    def _forget(self) -> None:
        self.seen, self._reads, self._alive_since = None, 0, None

    def use(self, incarnation: str) -> None:
        """This master is about to take the lead under that name, which stays its own for ever."""
        self._own.add(incarnation)

    # Reports of the peer, and which master the workers reach.

    def outranked(self, epoch: int) -> bool:
        """Whether the peer leads in a higher epoch than this master."""
        return self.role in (Role.LEADING, Role.YIELDING) and self.peer.leads and self.peer.epoch > epoch

    def cut_off(self, now: float, workers: int) -> bool:
        """Whether this leader must give way: workers reach its peer, and none (of `workers` heard lately) reach it."""
        if workers or self.role is not Role.LEADING:
            self._reached_at = now
        if not self.peer.workers or not self.peer.could_lead(now):
            return False
        return now - self._reached_at >= CUT_OFF_S
