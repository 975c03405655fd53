"""What a new leader reads from the ledger, and the error of one that finds that it knows it no more."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import LedgerError
from protocol.jobs import Job
from storage.ledger import Lease, Reply


class InconsistentError(LedgerError):
    """The ledger and the leader's memory differ; the lead must be taken again to learn what holds."""


@dataclass(slots=True)
class Loaded:
    """What a new leader reads from the ledger before it decides anything."""

    held: dict[str, Lease]
    retry: dict[str, Job]
    reply: Reply
