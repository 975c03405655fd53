"""Dead letters: jobs that were given up, kept with all their state, and the operator's actions on them.

A requeued letter continues from where it stood, with its tries reset. The jobs that follow it on its account went on
when it was given up, and are not started twice; but an analysis that ended because the follower list was missing is
requeued after the list. A dropped letter is kept apart, and counts as settled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgpack

from master.audit.repair import lead_at_rest
from master.frontier.plan import recall
from master.frontier.traversal import Traversal, front_of
from master.startup.open_crawl import OpenCrawl
from protocol.errors import UsageError
from protocol.jobs import Operation, Progress
from storage.ledger.job_codec import pack_job, unpack_job
from storage.ledger.ledger import OK
from storage.ledger.transitions import LogEntry, SettleLetter, Transition

AT_ONCE = 200
"""Letters in one commit."""


def requeued(traversal: Traversal, name: str, letter: bytes) -> SettleLetter:
    """The transition that turns the letter `name`, "OP:account", into a job again."""
    job = unpack_job(msgpack.unpackb(letter, raw=True)[0])
    done = job.progress
    fresh = Progress(done.steps, done.count, 0, 0, done.cursor, done.segments)
    again = replace(job, chain=(), progress=fresh)
    body = msgpack.packb([job.operation.value, job.user])
    requeue = SettleLetter(
        name, letter, front_of(job.operation), pack_job(again), traversal.level(again), LogEntry("job.requeued", body)
    )
    if job.operation is Operation.FOLLOWER and Operation.ANALYSE in traversal.operations:
        with_analysis = replace(again, chain=(Operation.ANALYSE,))
        level = traversal.level(with_analysis)
        return requeue._replace(level=level, account=job.user, chained=pack_job(with_analysis))
    return requeue


def dropped(name: str, letter: bytes) -> SettleLetter:
    """The transition that drops it for good."""
    operation, _, user = name.partition(":")
    entry = LogEntry("job.dropped", msgpack.packb([operation, user]))
    return SettleLetter(name, letter, queue="", record=b"", level="", entry=entry)


def is_name(name: str) -> bool:
    """Whether a text may name a letter."""
    operation, _, user = name.partition(":")
    return operation in {one.value for one in Operation} and bool(user)


def settle_at_rest(opened: OpenCrawl, names: Iterable[str], *, drop: bool) -> int:
    """Requeue or drop letters of a crawl that no master leads; returns their number. Raises LedgerError when a master
    leads, UsageError for a letter that does not exist."""
    ledger = opened.ledger
    plan = recall(ledger.remembered())
    letters: list[Transition] = []
    for name in names:
        letter = ledger.letter(name)
        if letter is None or plan is None:
            raise UsageError(f"there is no dead letter {name[:80]!r}; `tmatic-master dead` lists them")
        letters.append(dropped(name, letter) if drop else requeued(plan.traversal, name, letter))
    if not letters:
        return 0
    settled = 0
    with lead_at_rest(opened, "letters") as commit:
        for first in range(0, len(letters), AT_ONCE):
            settled += commit(letters[first : first + AT_ONCE]).statuses.count(OK)
    return settled
