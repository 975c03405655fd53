"""Repairing a crawl that rests: what the audit found nowhere gets a job again.

What a ledger that was rolled back forgot needs no repair: its jobs wait there still, workers find the receipt that this
crawl left for them, and end them without a request; the accounts that the stored profiles lead to come back with that.
Here is what is left: an account that is known and has neither job nor dead letter nor receipt for an operation.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from master.election import Act, Election
from master.opening import Opened
from master.plan import Plan, recall
from protocol.errors import LedgerError
from protocol.jobs import Job, Operation
from protocol.logs import fields
from storage.ledger import Lead, Reply, Transition
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
    added = 0
    rest = iter(missing)
    family = f"repaired{secrets.token_hex(4)}"
    with lead_at_rest(opened, "audit --repair") as commit:
        while chunk := list(islice(rest, CHUNK)):
            added += int(commit([_jobs(plan, chunk, family)]).statuses[0])
        for bucket in range(0, ledger.sizes().get(family, (0, 0))[1], CHUNK):
            commit([["E", family, bucket, CHUNK]])
    log.info("gave jobs to what was nowhere", extra=fields(jobs=added))
    return added


@contextlib.contextmanager
def lead_at_rest(opened: Opened, name: str) -> Iterator[Callable[[list[Transition]], Reply]]:
    """Lead a crawl that nobody leads, for as long as a tool needs; yields its way to commit. Raises LedgerError when
    a master leads."""
    ledger, lead = opened.ledger, _take(opened, name)
    beat = lead.beat

    def commit(batch: list[Transition]) -> Reply:
        nonlocal beat
        reply = ledger.commit(lead.incarnation, beat, batch, [])
        beat += 1
        return reply

    try:
        yield commit
    finally:
        ledger.release(lead.incarnation, beat)


def _take(opened: Opened, name: str) -> Lead:
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
            lead = ledger.take(incarnation, seen, witness=witness, ledger_id=seen.ledger_id, name=name)
            opened.dataset.witness_epoch(lead.epoch)
            return lead
        if act is Act.COMPLAIN:
            raise LedgerError(f"master {seen.name} leads this crawl: stop it first")
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
