"""The announcements of a commit, made from the batch and the ledger's answer for publishing. No clock, no I/O.

The sequence is assigned inside the commit. Nothing uncommitted is published; what was committed and is not published,
because the master died before, subscribers find in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from master.dispatch.transitions import Pending
from protocol.events import RECORDS, Announcement
from storage.ledger.ledger import Announced
from storage.ledger.transitions import Announcing, Transition


def announcement(transition: Transition, told: Announced) -> Announcement:
    """The announcement of a transition."""
    assert isinstance(transition, Announcing) and transition.entry is not None
    return Announcement(told.sequence, told.previous, *transition.entry)


def announcements(batch: Sequence[Pending], announced: Sequence[Announced]) -> Iterator[Announcement]:
    """The announcements of a batch, with the pages of its messages."""
    for told in announced:
        pending = batch[told.transition]
        event = announcement(pending.transition, told)
        if pending.payload and pending.lease is not None:
            event = event._replace(records=RECORDS[pending.lease.job.operation], payload=pending.payload)
        yield event
