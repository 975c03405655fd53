"""What a commit announced: from the batch and the ledger's answer, what is to be published. No clock, no I/O.

The sequence is given inside the commit. Nothing is published that was not committed; what was committed and is not
published, since the master died before, is found by whoever listens in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from master.dispatch.transitions import Pending
from protocol.events import RECORDS, Announcement
from storage.ledger.ledger import Announced
from storage.ledger.transitions import Announcing, Transition


def announcement(transition: Transition, told: Announced) -> Announcement:
    """What was announced with a transition."""
    assert isinstance(transition, Announcing) and transition.entry is not None
    return Announcement(told.sequence, told.previous, *transition.entry)


def announcements(batch: Sequence[Pending], announced: Sequence[Announced]) -> Iterator[Announcement]:
    """What was announced with a batch, with the pages that came along."""
    for told in announced:
        pending = batch[told.transition]
        event = announcement(pending.transition, told)
        if pending.payload and pending.lease is not None:
            event = event._replace(records=RECORDS[pending.lease.job.operation], payload=pending.payload)
        yield event
