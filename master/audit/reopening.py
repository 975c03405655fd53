"""Jobs that are open in a crawl that ended, because no master saw them. They are moved to queues that a master reads.

In a traversal by levels a master reads the queue of a level while the level counts pending accounts. A level with too
low a count ends too early, and the jobs that wait there are forgotten; one with too high a count never ends.
"""

from __future__ import annotations

import logging
from collections import Counter

from master.audit.repair import WHO, Commit, lead_at_rest
from master.frontier.live_jobs import open_jobs
from master.frontier.plan import recall
from master.frontier.traversal import COLLECTED, Traversal
from master.startup.open_crawl import OpenCrawl
from protocol.jobs import Job
from protocol.logs import fields
from storage.ledger.job_codec import unpack_job
from storage.ledger.ledger import Ledger
from storage.ledger.transitions import Correct, HandOut, PutBack

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Jobs in one commit."""


def reopen(opened: OpenCrawl) -> int:
    """Move the open jobs of a crawl that ended back; returns how many. Leased and resting jobs are handled by the next
    leader. Raises LedgerError, also when a master leads."""
    ledger = opened.ledger
    plan = recall(ledger.remembered())
    if plan is None:
        return 0
    walk = plan.traversal
    with lead_at_rest(opened, WHO) as commit:  # which also marks the crawl as not ended
        jobs, wanted = _open(ledger, walk)
        counted = commit([]).levels
        levels = {*wanted, *counted}
        commit([Correct("levels", str(level), wanted[level] - counted.get(level, 0)) for level in levels])
        for name in sorted({*ledger.queue_names()} - {COLLECTED, *walk.queues(wanted)}):
            while given := _given(commit, name, AT_ONCE):
                commit([PutBack(token, walk.queue(job), b"", "repair") for token, job in given])
    log.info("brought back what was open in a crawl that ended", extra=fields(jobs=jobs))
    return jobs


def _open(ledger: Ledger, walk: Traversal) -> tuple[int, Counter[int]]:
    """The number of open jobs, and the count that each level must have."""
    levels = Counter(walk.level(job) for job in open_jobs(ledger))
    return levels.total(), Counter({int(level): jobs for level, jobs in levels.items() if level})


def _given(commit: Commit, queue: str, most: int) -> list[tuple[str, Job]]:
    """Take jobs from a queue, with the token of each."""
    flat = commit([HandOut([queue], most, WHO, "", 0)]).statuses[0]
    return [(flat[i].decode(), unpack_job(flat[i + 1])) for i in range(0, len(flat), 2)]
