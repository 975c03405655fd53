"""Taking the lead, and what a leadership needs from ledger and dataset. Blocking; run in the ledger's thread."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from master.dispatch import Dispatch
from master.intake import Ahead, Lines, seeds, targets, updates, widening
from master.lead import Candidate, Verdict
from master.loaded import Loaded
from master.opening import Opened, bind_ledger
from master.plan import SEEN, Plan, recall, resume
from master.terms import Terms
from master.traversal import Traversing, front_of
from protocol.errors import LedgerError
from protocol.jobs import Operation
from protocol.logs import fields
from storage.ledger import Lead, Transition

log = logging.getLogger(__name__)


class LedElsewhereError(LedgerError):
    """Another master leads this crawl, and is at work."""


WATCH_S = 0.1
"""How often the beat of another leader is looked at."""


@dataclass(slots=True)
class Wish:
    """What the command line asks of this crawl. `adopt` accepts a ledger that the dataset does not know."""

    operations: frozenset[Operation]
    traversing: Traversing
    depth: int
    stream: Lines | None = None
    seeds: Lines | None = None
    adopt: bool = False


@dataclass(slots=True)
class Leadership:
    """What is known once the lead is taken. `beat` is the last one written."""

    lead: Lead
    plan: Plan
    loaded: Loaded
    beat: int


@dataclass(slots=True)
class Leading:
    """One master's ways to the lead, over all its incarnations."""

    opened: Opened
    wish: Wish
    name: str
    max_users: int
    incarnations: set[str] = field(default_factory=set)

    def take(self) -> Leadership:
        """Wait for the lead, take it, and read what it needs. Raises LedgerError when another master keeps it."""
        self.opened.wake_server()
        ledger, dataset = self.opened.ledger, self.opened.dataset
        candidate = Candidate(frozenset(self.incarnations))
        while True:
            seen = ledger.observe()
            verdict = candidate.read(time.monotonic(), seen)
            if verdict is Verdict.TAKE:
                break
            if verdict is Verdict.ANOTHER_LEADS:
                raise LedElsewhereError(
                    f"crawl {self.opened.settings.crawl!r} is led by master {seen.name}, which is at work: "
                    "stop that one first, or begin another crawl by --crawl NAME"
                )
            time.sleep(WATCH_S)
        ledger_id = bind_ledger(self.opened, seen.ledger_id, adopt=self.wish.adopt)
        incarnation = secrets.token_hex(8)
        self.incarnations.add(incarnation)
        lead = ledger.take(incarnation, seen, witness=dataset.highest_epoch(), ledger_id=ledger_id, name=self.name)
        dataset.witness_epoch(lead.epoch)
        if dataset.ledger_id(self.opened.settings.crawl) != lead.ledger_id:
            dataset.set_ledger_id(self.opened.settings.crawl, lead.ledger_id)
        known = ledger.sizes().get(SEEN, (0, 0))[0] > 0
        kept = recall(ledger.remembered())
        wish = self.wish
        plan = resume(
            kept, wish.operations, wish.traversing, wish.depth, known=known, streaming=wish.stream is not None
        )
        self.wish.adopt = False
        words: list[Transition] = [["C", name, value] for name, value in plan.remembered().items()]
        reply = ledger.commit(incarnation, lead.beat, words, [*map(front_of, Operation), *(o.value for o in Operation)])
        loaded = Loaded(ledger.held(), ledger.retry(), reply)
        log.info("took the lead", extra=fields(epoch=lead.epoch, incarnation=incarnation, held=len(loaded.held)))
        return Leadership(lead, plan, loaded, lead.beat + 1)

    def dispatch(self, leadership: Leadership, terms: Terms, before: Dispatch | None) -> Dispatch:
        """The decisions of a leadership, with what is to come in by and by."""
        dispatch = Dispatch(
            leadership.lead, leadership.plan.traversal, terms, leadership.loaded, time.monotonic(), random.Random()
        )
        if before is not None:
            dispatch.succeed(before)
        dispatch.intake = Ahead(self._intake(leadership.plan))
        return dispatch

    def _intake(self, plan: Plan) -> Iterator[Transition]:
        """Everything that may have to come in; what is in already is not taken twice."""
        ledger, walk = self.opened.ledger, plan.traversal
        parts: list[Iterator[Transition]] = []
        stream, asked = self.wish.stream, self.wish.operations
        if self.wish.seeds is not None:  # before anything can be discovered
            parts.append(seeds(self.wish.seeds))
        if plan.updating and plan.everyone:
            parts.append(updates(ledger.accounts(SEEN), walk, plan.round_family))
        if stream is not None and Operation.UPDATE in asked:
            parts.append(updates(stream, walk, plan.round_family))
        elif stream is not None:
            parts.append(targets(stream, walk, SEEN))
        if plan.widening:
            parts.append(widening(ledger.accounts(SEEN), plan.widening, walk, plan.widening_family))
        return chain(*parts)
