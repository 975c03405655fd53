"""The status of a crawl: the line that is logged every few seconds, and the document that answers STATUS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from master.dispatch.dispatcher import Dispatch
from master.dispatch.leases import Lease
from master.frontier.traversal import COLLECTED, front_of
from master.member import Member
from protocol.jobs import OPERATIONS, Operation

ENDINGS = {"pages": ".pages", "records": ".records", "jobs": ".done"}
"""The totals from which each rate is computed."""


@dataclass(slots=True)
class Rates:
    """Pages, records and jobs per second, between two readings of the totals."""

    _at: float = 0.0
    _totals: Mapping[str, int] = field(default_factory=dict)
    by_name: dict[str, float] = field(default_factory=dict)

    def look(self, totals: Mapping[str, int]) -> None:
        """Record the current totals."""
        now = time.monotonic()
        seconds = now - self._at
        if self._at and seconds > 0:
            for what, ending in ENDINGS.items():
                names = [operation.value + ending for operation in Operation]
                grown = sum(totals.get(name, 0) - self._totals.get(name, 0) for name in names)
                self.by_name[what] = round(grown / seconds, 1)
        self._at, self._totals = now, dict(totals)


def letters_of(totals: Mapping[str, int], letter: str) -> int:
    """Dead letters of an operation that were neither requeued nor dropped."""
    return totals.get(f"{letter}.dead", 0) - totals.get(f"{letter}.revived", 0) - totals.get(f"{letter}.dropped", 0)


def document(
    dispatch: Dispatch,
    totals: Mapping[str, int],
    rates: Rates,
    crawl: str,
    plan: Mapping[str, str],
    addresses: Mapping[bytes, str],
) -> dict[str, Any]:
    """The state of a running crawl, for tools. `addresses` are those of workers, by their routing ids."""
    reply = dispatch.reply
    leases = dispatch.worker_table.leases
    now = time.monotonic()
    operations = {}
    for operation in Operation:
        letter = operation.value
        queues = [name for name in reply.lengths if name.startswith(letter)]
        operations[OPERATIONS[operation].name] = {
            "waiting": sum(reply.lengths[name] for name in queues),
            "parked": reply.lengths.get(front_of(operation), 0),
            "ongoing": sum(lease.job.operation is operation for lease in leases.values()),
            "completed": totals.get(f"{letter}.done", 0),
            "dead": letters_of(totals, letter),
            "pages": totals.get(f"{letter}.pages", 0),
            "records": totals.get(f"{letter}.records", 0),
        }
    return {
        "crawl": crawl,
        "ledger": dispatch.lead.ledger_id,
        "state": "draining" if dispatch.draining else "running",
        "leader": {"name": dispatch.lead.name, "epoch": dispatch.lead.epoch, "incarnation": dispatch.lead.incarnation},
        "plan": dict(plan),
        "operations": operations,
        "accounts": reply.seen,
        "collected": reply.lengths.get(COLLECTED, 0),
        "resting": reply.retry,
        "dead": reply.dead,
        "rates": rates.by_name,
        "totals": dict(sorted(totals.items())),
        "counted": dispatch.counted,
        "consumers": dispatch.readers.lags(dispatch.log_end.sequence),
        "log": {"head": dispatch.log_end.sequence},
        "workers": [
            {
                "name": worker.name,
                "address": addresses.get(worker.peer, ""),
                "room": worker.room,
                "in_hand": [_in_hand(leases[token], now) for token in sorted(worker.tokens)],
                "budgets": sorted({key for keys in worker.budgets.values() for key in keys}),
                "jobs": sorted(f"{job.operation.value} {job.user}" for job in (leases[t].job for t in worker.tokens)),
                "completed": worker.completed,
                "silent_s": round(now - worker.heard_at, 3),
            }
            for worker in dispatch.worker_table.workers.values()
        ],
        "budgets": {
            key: {
                "available": budget.available(now),
                "limit": budget.limit,
                "outstanding": budget.outstanding,
                "in_doubt": budget.in_doubt(now),
                "resets_in_s": None if budget.resets_at is None else round(max(0.0, budget.resets_at - now), 1),
            }
            for key, budget in dispatch.budgets.by_key.items()
        },
    }


def _in_hand(lease: Lease, now: float) -> dict[str, Any]:
    done = lease.job.progress
    return {
        "operation": lease.job.operation.value,
        "user": lease.job.user,
        "page": done.steps + 1,
        "records": done.count,
        "idle_s": round(now - lease.moved_at, 1),
    }


def place(member: Member, now: float, *, staying: bool) -> dict[str, Any]:
    """A master's place in the election, for tools: its role, the leader it watches, its peer, and its takeovers."""
    election = member.election
    seen, leadership = election.seen, member.leadership
    taken = [{"ago_s": round(now - at, 3), "epoch": epoch, "why": why} for at, epoch, why in member.takeovers[-10:]]
    where: dict[str, Any] = {
        "ledger": member.ledger_id,
        "role": election.role.value,
        "epoch": leadership.lead.epoch if leadership is not None else member.epoch,
        "beat": leadership.beat if leadership is not None else seen.beat if seen is not None else 0,
        "takeovers": taken,
        "why": election.why,
    }
    if staying and member.finished and member.dispatch is not None and member.dispatch.idle:
        where["state"] = "done, staying"
    if member.pair is not None:
        peer = election.peer
        where["pair"] = {
            "number": member.pair.number,
            "address": member.pair.address,
            "peer": member.pair.peer,
            "peer_silent": peer.silent(now),
            "peer_leads": peer.leads and not peer.silent(now),
            "peer_epoch": peer.epoch,
            "peer_workers": peer.workers,
            "workers_known": len(member.standby.workers),
        }
    return where


def line(state: Mapping[str, Any]) -> str:
    """The summary for people, in one line."""
    workers = state["workers"]
    active = sum(bool(worker["jobs"]) for worker in workers)
    share = f" ({100 * active // len(workers)} %)" if workers else ""
    operations = state["operations"]
    waiting = sum(o["waiting"] for o in operations.values())
    parked = sum(o["parked"] for o in operations.values())
    done = ", ".join(
        f"{name} {o['ongoing']} ongoing {o['completed']} completed"
        for name, o in operations.items()
        if o["ongoing"] or o["completed"] or o["waiting"] or o["parked"]
    )
    rates = state["rates"]
    speed = f", {rates['pages']:g} pages/s {rates['records']:g} records/s" if rates else ""
    return (
        f"{len(workers)} workers, {active} active{share}; {waiting} waiting, {parked} parked, {state['resting']} "
        f"resting, {state['dead']} dead; {done or 'nothing yet'}{speed}"
    )
