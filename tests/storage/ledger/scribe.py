"""One incarnation at its ledger, as the tests of the ledger write with it; and all that a server holds, to compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from protocol.jobs import Job, Operation, Progress
from storage.ledger.job_codec import pack_job
from storage.ledger.ledger import Lead, Ledger, Reply
from storage.ledger.transitions import AddJobs, Discoveries, Finish, HandOut, LogEntry, NewJob, StorePage, Transition

TIMELINE, FOLLOWER, ANALYSE = Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE


@dataclass
class Scribe:
    """Writes under one incarnation, and keeps its beat."""

    ledger: Ledger
    lead: Lead
    beat: int

    @classmethod
    def taking(cls, ledger: Ledger, incarnation: str = "first") -> Scribe:
        """One that takes the lead from whoever has it."""
        lead = ledger.take(incarnation, ledger.observe(), witness=0, ledger_id="tests", name=f"master of {incarnation}")
        return cls(ledger, lead, lead.beat)

    def commit(self, *transitions: Transition, queues: Sequence[str] = (), max_users: int = 0) -> Reply:
        reply = self.ledger.commit(self.lead.incarnation, self.beat, transitions, queues, max_users=max_users)
        self.beat += 1
        return reply

    def status(self, transition: Transition) -> Any:
        """What becomes of one transition in a commit of its own."""
        return self.commit(transition).statuses[0]

    def target(self, *users: str, job: Job | None = None, level: str = "") -> int:
        """Targets that come in; how many were new."""
        jobs = [NewJob(user, "T", pack_job(job or Job(TIMELINE, user)), level) for user in users]
        return int(self.status(AddJobs("seen", front=False, jobs=jobs)))

    def lease(self, queue: str = "T", most: int = 1, worker: str = "w1") -> list[tuple[str, bytes]]:
        """Tokens and records of jobs that are handed out."""
        flat = self.status(HandOut([queue], most, worker, "budget", 3))
        return [(flat[i].decode(), flat[i + 1]) for i in range(0, len(flat), 2)]

    def leased(self, user: str = "7") -> str:
        """The token of a job that came in and was handed out just now."""
        self.target(user)
        return self.lease()[0][0]


def after(steps: int, count: int, *, user: str = "7", cursor: str = "next") -> bytes:
    """The record of a job after so many steps."""
    return pack_job(Job(TIMELINE, user, progress=Progress(steps, count, 0, 0, cursor)))


def page(token: str, step: int, count: int, *, found: Discoveries | None = None, user: str = "7") -> Transition:
    """One more page is stored."""
    entry = LogEntry("timeline.page", b"body")
    return StorePage(token, step, count, after(step, count, user=user), found, entry, "budget", 5)


def done(token: str, step: int, count: int, **more: Any) -> Transition:
    """The job is done. `more`: queue, record, front, level, found, entry."""
    return Finish(token, step, count, "complete", **{"entry": LogEntry("job.done", b"body"), **more})


def found(queue: str, *users: str, front: bool = False, level: str = "") -> Discoveries:
    """Discoveries, with a record each that names its account."""
    records = [pack_job(Job(TIMELINE, user, 1, "7")) for user in users] if queue else []
    return Discoveries(queue, front, level, users, records)


def holdings(client: redis.Redis) -> dict[str, Any]:
    """Everything that a server holds, by key: lists in order, sets and hashes by content. The count of writes that were
    refused is left out: it is what a refusal changes."""
    held: dict[str, Any] = {}
    for key in sorted(client.scan_iter(count=1000)):
        match client.type(key):
            case b"hash":
                value: Any = {name: kept for name, kept in client.hgetall(key).items() if name != b"refused"}
            case b"list":
                value = client.lrange(key, 0, -1)
            case b"set":
                value = client.smembers(key)
            case _:
                value = client.get(key)
        if value:
            held[key.decode()] = value
    return held
