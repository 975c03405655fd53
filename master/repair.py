"""Repairing a crawl that rests: what the audit found nowhere gets a job again.

What a ledger that was rolled back forgot needs no repair: its jobs wait there still, workers find the receipt that this
crawl left for them, and end them without a request; the accounts that the stored profiles lead to come back with that.
Here is what is left: an account that is known and has neither job nor dead letter nor receipt for an operation.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable
from itertools import islice

from master.election import Act, Election
from master.opening import Opened
from master.plan import Plan, recall
from protocol.errors import LedgerError
from protocol.jobs import Job, Operation
from protocol.logs import fields
from storage.ledger import Lead, Transition
from storage.records import pack_job

log = logging.getLogger(__name__)

LOOK_S = 0.1
CHUNK = 1000


def repair(opened: Opened, missing: Iterable[tuple[Operation, str]]) -> int:
    """Give each of these a job again; how many got one. Raises LedgerError, also when a master leads."""
    ledger = opened.ledger
    plan = recall(ledger.remembered())
    if plan is None:
        return 0
    lead = _take(opened)
    beat, added = lead.beat, 0
    rest = iter(missing)
    family = f"repaired{lead.epoch}"
    try:
        while chunk := list(islice(rest, CHUNK)):
            reply = ledger.commit(lead.incarnation, beat, [_jobs(plan, chunk, family)], [])
            beat += 1
            added += int(reply.statuses[0])
        for bucket in range(0, ledger.sizes().get(family, (0, 0))[1], CHUNK):
            ledger.commit(lead.incarnation, beat, [["E", family, bucket, CHUNK]], [])
            beat += 1
    finally:
        ledger.release(lead.incarnation, beat)
    log.info("gave jobs to what was nowhere", extra=fields(jobs=added, epoch=lead.epoch))
    return added


def _take(opened: Opened) -> Lead:
    """Take the lead of a crawl that rests, as a master would."""
    ledger, election = opened.ledger, Election()
    while True:
        asked = time.monotonic()
        seen = ledger.observe()
        now = time.monotonic()
        act = election.read(now, seen, now - asked)
        if act is Act.TAKE:
            incarnation = secrets.token_hex(8)
            witness = opened.dataset.highest_epoch()
            lead = ledger.take(incarnation, seen, witness=witness, ledger_id=seen.ledger_id, name="audit --repair")
            opened.dataset.witness_epoch(lead.epoch)
            return lead
        if act is Act.COMPLAIN:
            raise LedgerError(f"master {seen.name} leads this crawl: stop it first, then repair")
        time.sleep(LOOK_S)


def _jobs(plan: Plan, chunk: list[tuple[Operation, str]], family: str) -> Transition:
    """The transition that makes jobs for these. How far an account is from a target is not known any more: where that
    counts, it is taken for one at the edge, so that the crawl does not go beyond its depth."""
    walk = plan.traversal
    depth = max(0, plan.depth - 1) if walk.levelled else 0
    flat: list[str | bytes] = []
    for operation, account in chunk:
        job = Job(operation, account, depth)
        flat += (f"{operation.value}:{account}", walk.queue(job), pack_job(job), walk.level(job))
    return ["I", family, False, flat]
