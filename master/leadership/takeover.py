"""Takes the lead, and reads what it needs from ledger and dataset. Blocking; run in the ledger's thread."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import msgpack

from master.dispatch.announcements import announcement
from master.dispatch.dispatcher import Dispatch
from master.dispatch.snapshot import Snapshot
from master.events.log_end import LogEnd
from master.frontier.live_jobs import open_jobs
from master.frontier.plan import SEEN, Plan, recall, resume
from master.frontier.seed_files import ReadAhead, SeedLines, in_hand, seeds, targets, updates, widening
from master.frontier.traversal import Traversing, front_of
from master.leadership.ledger_calls import Leadership, Take
from master.policy import CrawlPolicy
from master.startup.open_crawl import OpenCrawl, bind_ledger
from protocol.jobs import Operation
from protocol.logs import fields
from storage.ledger.ledger import Lead
from storage.ledger.transitions import Announce, EmptySet, LogEntry, Remember, Transition

log = logging.getLogger(__name__)

EMPTIED_AT_ONCE = 1000
"""Buckets of a set that one commit empties."""


@dataclass(slots=True)
class TakeoverRequest:
    """What the command line requests of this crawl. `adopt` accepts a ledger that the dataset does not know; `stay`
    serves subscribers after the end of the crawl, until a signal."""

    operations: frozenset[Operation]
    traversing: Traversing
    depth: int
    stream: SeedLines | None = None
    seeds: SeedLines | None = None
    adopt: bool = False
    stay: bool = False


@dataclass(slots=True)
class Takeover:
    """One master's takeovers, over all its incarnations."""

    opened: OpenCrawl
    request: TakeoverRequest
    name: str
    policy: CrawlPolicy

    def observe(self) -> Lead:
        """The current lead; an embedded server that died is restarted."""
        self.opened.wake_server()
        return self.opened.watched.observe()

    def take(self, question: Take) -> Leadership:
        """Take the lead if it is unchanged, and read what it needs. Raises LedgerError, FencedError when the lead has
        changed, UsageError when the crawl is refused."""
        ledger, dataset, seen = self.opened.ledger, self.opened.dataset, question.seen
        ledger_id = bind_ledger(self.opened, seen.ledger_id, adopt=self.request.adopt)
        witness = max(dataset.highest_epoch(), question.witness)
        lead = ledger.take(question.incarnation, seen, witness=witness, ledger_id=ledger_id, name=self.name)
        dataset.witness_epoch(lead.epoch)
        if dataset.ledger_id(self.opened.settings.crawl) != lead.ledger_id:
            dataset.set_ledger_id(self.opened.settings.crawl, lead.ledger_id)
        known = ledger.sizes().get(SEEN, (0, 0))[0] > 0
        kept = recall(ledger.remembered())
        request = self.request
        plan = resume(
            kept,
            request.operations,
            request.traversing,
            request.depth,
            known=known,
            streaming=request.stream is not None,
        )
        self.request.adopt = False
        words: list[Transition] = [Remember(name, value) for name, value in plan.remembered().items()]
        if plan.updating and kept is not None and plan.round != kept.round:
            # A dead letter of an earlier round may have been requeued. Read before anything is assigned, and kept
            # with the round's beginning; what is requeued later is kept by the script.
            live = [job.user for job in open_jobs(ledger, Operation.UPDATE) if job.operation is Operation.UPDATE]
            words += in_hand(live, plan.round_family)
        body = msgpack.packb([self.name, lead.epoch, question.why])
        words.append(Announce(LogEntry("master.leads", body)))
        queues = [*map(front_of, Operation), *(o.value for o in Operation)]
        reply = ledger.commit(question.incarnation, lead.beat, words, queues)
        heads = ledger.heads()
        log_end = LogEnd(reply.announced[0].sequence - 1, {topic: last for topic, last in heads.items() if topic})
        snapshot = Snapshot(ledger.held(), ledger.retry(), reply, ledger.readers(), log_end)
        log.info(
            "took the lead",
            extra=fields(epoch=lead.epoch, incarnation=lead.incarnation, held=len(snapshot.held), why=question.why),
        )
        said = [announcement(words[told.transition], told) for told in reply.announced]
        return Leadership(lead, plan, snapshot, lead.beat + 1, said)

    def dispatch(self, now: float, leadership: Leadership) -> Dispatch:
        """The dispatch of a leadership, with the intake that is still to be read."""
        plan = leadership.plan
        dispatch = Dispatch(leadership.lead, plan.traversal, self.policy, leadership.snapshot, now, random.Random())
        dispatch.intake = ReadAhead(self._intake(plan))
        return dispatch

    def close(self, leadership: Leadership) -> list[Transition]:
        """The transitions when nothing is left to do: the plan is fulfilled, and sets that it needed are deleted."""
        plan = leadership.plan
        over = plan.widened().updated()
        words: list[Transition] = []
        if over != plan:
            words += [Remember(name, value) for name, value in over.remembered().items()]
        families = [plan.widening_family] if plan.widening else []
        if plan.updating and plan.round > 1:
            families.append(replace(plan, round=plan.round - 1).round_family)
        return [*words, *(EmptySet(family, 0, EMPTIED_AT_ONCE) for family in families)]

    def _intake(self, plan: Plan) -> Iterator[Transition]:
        """All transitions that the intake may need; what the ledger has already is not added twice."""
        ledger, walk = self.opened.ledger, plan.traversal
        parts: list[Iterator[Transition]] = []
        stream, asked = self.request.stream, self.request.operations
        if self.request.seeds is not None:  # before anything can be discovered
            parts.append(seeds(self.request.seeds))
        if plan.updating and plan.everyone:
            parts.append(updates(ledger.accounts(SEEN), walk, plan.round_family))
        if stream is not None and Operation.UPDATE in asked:
            parts.append(updates(stream, walk, plan.round_family))
        elif stream is not None:
            parts.append(targets(stream, walk, SEEN))
        if plan.widening:
            parts.append(widening(ledger.accounts(SEEN), plan.widening, walk, plan.widening_family))
        return chain(*parts)
