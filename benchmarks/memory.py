"""What a waiting job and a seen id cost in the ledger's memory: a fresh server per figure, its own `used_memory`.

    python benchmarks/memory.py [--quick]

Everything goes in by the real commit, four transitions of a thousand accounts each. What an empty ledger costs (the
server itself, the script, the lead) is taken off; nothing else is. The server keeps nothing on disk, whose buffers are
no part of the question.

  jobs    `I` transitions: accounts that a crawl found, each with its parent, bound for its first operation with two to
          follow. Once with all that such a job needs, which is its record and its place in the seen set, and once
          the record alone (the seen set is measured by itself, and taken off).
  seen    `S` transitions: ids of the set `seeds`, which has the structure of the seen set and no queue beside it.

Three kinds of ids: dense ones (1, 2, 3, …), random ones of 32 bits, and snowflakes of 64 bits as Twitter gives them
(41 bits of milliseconds, 10 of machine, 12 of sequence). All are drawn from a fixed seed and come in random order.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.needs import require
from master.frontier.seed_files import CHUNK
from protocol.jobs import Job, Operation
from storage.ledger.embedded import EmbeddedValkey
from storage.ledger.job_codec import pack_job
from storage.ledger.ledger import MAX_DISCOVERIES, Ledger
from storage.ledger.transitions import AddAccounts, AddJobs, NewJob, Transition

SEED = 1
MAX_BYTES_PER_JOB = 32.0
MAX_BYTES_PER_SEEN = 16.0
JOBS, SEEN = (10**6,), (10**5, 10**6, 10**7)
JOBS_QUICK, SEEN_QUICK = (10**5,), (10**5,)
FIRST_SNOWFLAKE_MS, SPAN_MS = 0, 14 * 365 * 86_400_000
"""Ids of 14 years since Twitter began to give snowflakes."""


def dense(count: int) -> list[int]:
    """1 to `count`, in random order."""
    ids = list(range(1, count + 1))
    random.Random(SEED).shuffle(ids)
    return ids


def random32(count: int) -> list[int]:
    """Distinct numbers below 2^32."""
    return random.Random(SEED).sample(range(1, 1 << 32), count)


def snowflakes(count: int) -> list[int]:
    """Distinct ids of 64 bits: when, by which machine, and the how manieth of that millisecond, mostly the first."""
    chance = random.Random(SEED)
    ids: dict[int, None] = {}
    while len(ids) < count:
        when = chance.randrange(FIRST_SNOWFLAKE_MS, SPAN_MS)
        ids[when << 22 | chance.randrange(1 << 10) << 12 | min(int(chance.expovariate(1.5)), 4095)] = None
    return list(ids)


KINDS: dict[str, Callable[[int], list[int]]] = {"dense": dense, "32-bit": random32, "64-bit": snowflakes}


def as_jobs(ids: list[int]) -> Iterator[Transition]:
    """The accounts as jobs that wait, each found through another one of them."""
    chain = (Operation.FOLLOWER, Operation.ANALYSE)
    for first in range(0, len(ids), CHUNK):
        jobs = []
        for at, account in enumerate(ids[first : first + CHUNK], first):
            parent = str(ids[at // 100])
            record = pack_job(Job(Operation.TIMELINE, str(account), 2, parent, chain))
            jobs.append(NewJob(str(account), "T", record, "2"))
        yield AddJobs("seen", front=False, jobs=jobs)


def as_seen(ids: list[int]) -> Iterator[Transition]:
    """The accounts as members of a set."""
    for first in range(0, len(ids), CHUNK):
        yield AddAccounts([str(account) for account in ids[first : first + CHUNK]])


def used_memory(url: str) -> int:
    """The server's own figure, asked over a connection of its own, so that no other one's buffers are in it."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("memory")["used_memory"])


def measured(transitions: Iterator[Transition]) -> int:
    """Bytes that the transitions cost a fresh server."""
    with tempfile.TemporaryDirectory(prefix="tmatic-memory-") as folder:
        server = EmbeddedValkey(Path(folder), "memory")
        url = server.start()
        try:
            with redis.Redis.from_url(url) as client:
                ledger = Ledger(client, "memory")
                lead = ledger.take("0123456789abcdef", ledger.observe(), witness=0, ledger_id="m", name="memory")
                ledger.commit(lead.incarnation, lead.beat, [], [])
            before = used_memory(url)
            with redis.Redis.from_url(url) as client:
                ledger, beat, batch = Ledger(client, "memory"), lead.beat + 1, []
                for transition in transitions:
                    batch.append(transition)
                    if (len(batch) + 1) * CHUNK > MAX_DISCOVERIES:
                        ledger.commit(lead.incarnation, beat, batch, [])
                        beat, batch = beat + 1, []
                ledger.commit(lead.incarnation, beat, batch, [])
            return used_memory(url) - before
        finally:
            server.stop()


def row(kind: str, what: str, count: int, transitions: Callable[[list[int]], Iterator[Transition]]) -> float:
    """Measure one figure, print its line, and return the bytes for each."""
    ids = KINDS[kind](count)
    begun = time.perf_counter()
    each = measured(transitions(ids)) / count
    print(f"{what:<24}{kind:<10}{count:>12,}{each:>12.2f}{time.perf_counter() - begun:>9.1f}", flush=True)
    return each


def figures(jobs: tuple[int, ...], seen: tuple[int, ...]) -> dict[str, float]:
    """Measure and print everything; the worst of each kind."""
    print(f"world: seed {SEED}; a fresh embedded Valkey per figure, durability memory")
    print(f"{'':<24}{'ids':<10}{'how many':>12}{'bytes each':>12}{'s':>9}")
    per_seen = {(kind, n): row(kind, "seen id", n, as_seen) for n in seen for kind in KINDS}
    per_job = {(kind, n): row(kind, "waiting job and seen id", n, as_jobs) for n in jobs for kind in KINDS}
    for (kind, n), each in per_job.items():
        if (kind, n) in per_seen:
            print(f"{'waiting job alone':<24}{kind:<10}{n:>12,}{each - per_seen[kind, n]:>12.2f}")
    worst_job, worst_seen = max(per_job.values()), max(per_seen.values())
    print(f"worst: {worst_job:.2f} bytes per waiting job, at most {MAX_BYTES_PER_JOB:.0f} wanted; ", end="")
    print(f"{worst_seen:.2f} bytes per seen id, at most {MAX_BYTES_PER_SEEN:.0f} wanted")
    return {"bytes_per_job": round(worst_job, 2), "bytes_per_seen": round(worst_seen, 2)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Bytes of the ledger's memory per waiting job and per seen id.")
    parser.add_argument("--quick", action="store_true", help="only 100,000 of each")
    quick = parser.parse_args().quick
    require(disk_mib=50)
    print(json.dumps(figures(JOBS_QUICK if quick else JOBS, SEEN_QUICK if quick else SEEN)))


if __name__ == "__main__":
    main()
