"""The states of a lease in a worker: the events, and the action for each. No clock, no I/O.

`TABLE` is the whole state machine: state and event give the next state and an act. The diagram in
`docs/architecture.md` is drawn from it, and the property tests walk it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol import messages as wire


class HeldState(Enum):
    """Where a lease is in this worker."""

    RUNNING = "running"
    STEPPING = "page stored, not committed"
    ENDING = "ended, not committed"
    OVER = "over"


class HeldEvent(Enum):
    """What happened to it."""

    STORED = "a page is stored"
    ENDED = "the job came to its end here"
    COMMITTED = "the leader committed what was sent"
    STALE = "the leader calls the token stale"
    REVOKED = "the leader revokes the token"


class HeldAct(Enum):
    """What is to be done about it."""

    NOTHING = "nothing"
    SEND = "send it until it is committed"
    CONTINUE = "ask for the next page"
    STOP = "stop; nothing of it is wanted"
    FORGET = "forget what was kept for it"


TABLE: dict[tuple[HeldState, HeldEvent], tuple[HeldState, HeldAct]] = {
    (HeldState.RUNNING, HeldEvent.STORED): (HeldState.STEPPING, HeldAct.SEND),
    (HeldState.RUNNING, HeldEvent.ENDED): (HeldState.ENDING, HeldAct.SEND),
    (HeldState.RUNNING, HeldEvent.STALE): (HeldState.OVER, HeldAct.STOP),
    (HeldState.RUNNING, HeldEvent.REVOKED): (HeldState.OVER, HeldAct.STOP),
    (HeldState.STEPPING, HeldEvent.STORED): (HeldState.STEPPING, HeldAct.NOTHING),
    (HeldState.STEPPING, HeldEvent.ENDED): (HeldState.STEPPING, HeldAct.NOTHING),
    (HeldState.STEPPING, HeldEvent.COMMITTED): (HeldState.RUNNING, HeldAct.CONTINUE),
    (HeldState.STEPPING, HeldEvent.STALE): (HeldState.OVER, HeldAct.STOP),
    (HeldState.STEPPING, HeldEvent.REVOKED): (HeldState.OVER, HeldAct.STOP),
    (HeldState.ENDING, HeldEvent.STORED): (HeldState.ENDING, HeldAct.NOTHING),
    (HeldState.ENDING, HeldEvent.ENDED): (HeldState.ENDING, HeldAct.NOTHING),
    (HeldState.ENDING, HeldEvent.COMMITTED): (HeldState.OVER, HeldAct.FORGET),
    (HeldState.ENDING, HeldEvent.STALE): (HeldState.OVER, HeldAct.STOP),
    (HeldState.ENDING, HeldEvent.REVOKED): (HeldState.OVER, HeldAct.STOP),
}
"""Every possible pair: a verdict that is not awaited is ignored before, and a lease that is over is not held any
more."""


@dataclass(slots=True)
class HeldLease:
    """A lease in this worker. `unsure` was sent and is not committed. Times are seconds of the monotonic clock."""

    job: wire.Assignment
    granted: int
    spent: int
    step: int
    moved_at: float
    state: HeldState = HeldState.RUNNING
    unsure: wire.Step | wire.End | None = None
    sent_at: float = 0.0

    def happened(self, event: HeldEvent) -> HeldAct:
        """Go on to the next state; returns what is to be done."""
        self.state, act = TABLE[self.state, event]
        return act

    def awaits(self, verdict: wire.Verdict) -> bool:
        """Whether a verdict is the one for the last message sent."""
        match self.unsure:
            case wire.Step(step=step):
                return step == verdict.step
            case wire.End(step=step, how=how):
                return verdict.step == (step if how == wire.DONE else 0)
            case _:
                return False
