"""What a master asks of the ledger, one question at a time, and what the lead is once it is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from master.dispatch.snapshot import Snapshot
from master.frontier.plan import Plan
from protocol.events import Announcement
from storage.ledger.ledger import NOBODY, Lead
from storage.ledger.transitions import Transition


class Ending(Enum):
    """Why a master leaves. The values are what the ledger keeps."""

    DONE = "done"
    DRAINED = "drained"
    STOPPED = ""


@dataclass(slots=True)
class Leadership:
    """What is known once the lead is taken. `beat` is the last one written; `said` was announced with the taking."""

    lead: Lead
    plan: Plan
    snapshot: Snapshot
    beat: int
    said: list[Announcement] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Observe:
    """Read the lead; the answer is a Lead."""


@dataclass(frozen=True, slots=True)
class Take:
    """Take the lead by that incarnation, if it is still as `seen`, and load; the answer is a Leadership. `witness`
    is the highest epoch that the peer spoke of."""

    seen: Lead
    incarnation: str
    witness: int
    why: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit a batch; the answer is a Reply. `closing` says that nothing is left to do but this; `passed` is what every
    reader of the log has behind it."""

    incarnation: str
    beat: int
    batch: list[Transition]
    queues: list[str]
    newcomers: str
    closing: bool = False
    passed: int = NOBODY


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Give the lead back; the answer is None."""

    incarnation: str
    beat: int
    ended: str


Question = Observe | Take | Commit | GiveBack
