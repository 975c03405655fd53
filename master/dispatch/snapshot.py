"""What a new leader reads from the ledger, and the errors when another leads, or memory and ledger differ."""

from __future__ import annotations

from dataclasses import dataclass, field

from master.events.log_end import LogEnd
from protocol.errors import LedgerError
from protocol.jobs import Job
from storage.ledger.ledger import LeaseRecord, Reply


class InconsistentError(LedgerError):
    """The ledger and the leader's memory differ; the lead must be taken again to read the true state."""


class LedElsewhereError(LedgerError):
    """Another master leads this crawl, and is alive."""


@dataclass(slots=True)
class Snapshot:
    """What a new leader reads from the ledger before it decides anything."""

    held: dict[str, LeaseRecord]
    retry: dict[str, Job]
    reply: Reply
    readers: dict[str, int] = field(default_factory=dict)
    log_end: LogEnd = field(default_factory=LogEnd)
