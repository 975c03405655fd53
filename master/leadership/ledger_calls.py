"""A master's calls to the ledger, one at a time, and the lead once it is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from master.dispatch.snapshot import Snapshot
from master.frontier.plan import Plan
from protocol.events import Announcement
from storage.ledger.ledger import NOBODY, Lead
from storage.ledger.transitions import Transition


class Ending(Enum):
    """Why a master leaves. The values are stored in the ledger."""

    DONE = "done"
    DRAINED = "drained"
    STOPPED = ""


@dataclass(slots=True)
class Leadership:
    """The result of taking the lead. `beat` is the last one written; `said` was announced with the takeover."""

    lead: Lead
    plan: Plan
    snapshot: Snapshot
    beat: int
    said: list[Announcement] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Observe:
    """Read the lead; the result is a Lead."""


@dataclass(frozen=True, slots=True)
class Take:
    """Take the lead under that incarnation, if it is still as `seen`, and load; the result is a Leadership. `witness`
    is the highest epoch that the peer reported."""

    seen: Lead
    incarnation: str
    witness: int
    why: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit a batch; the result is a Reply. `closing`: nothing else is left to do; `passed` is the sequence that every
    subscriber has passed."""

    incarnation: str
    beat: int
    batch: list[Transition]
    queues: list[str]
    newcomers: str
    closing: bool = False
    passed: int = NOBODY


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Release the lead; the result is None."""

    incarnation: str
    beat: int
    ended: str


Question = Observe | Take | Commit | GiveBack
