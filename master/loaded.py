"""What a new leader reads from the ledger, and the errors of one that finds another there, or knows it no more."""

from __future__ import annotations

from dataclasses import dataclass, field

from master.announcing import Tip
from protocol.errors import LedgerError
from protocol.jobs import Job
from storage.ledger import Lease, Reply


class InconsistentError(LedgerError):
    """The ledger and the leader's memory differ; the lead must be taken again to learn what holds."""


class LedElsewhereError(LedgerError):
    """Another master leads this crawl, and is at work."""


@dataclass(slots=True)
class Loaded:
    """What a new leader reads from the ledger before it decides anything."""

    held: dict[str, Lease]
    retry: dict[str, Job]
    reply: Reply
    readers: dict[str, int] = field(default_factory=dict)
    tip: Tip = field(default_factory=Tip)
