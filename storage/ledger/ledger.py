"""The ledger: a crawl's durable state, in Redis or Valkey, under one hash tag per crawl.

Every write is one call of `ledger.lua`, which commits a batch of transitions or changes nothing. This module packs
the request, translates the errors, and reads. What a batch may hold is in `storage.ledger.transitions`.

    {tmatic:CRAWL}:lead        who leads: incarnation, beat, epoch, name; how it ended; and the id of this ledger
    {tmatic:CRAWL}:queue:NAME  waiting jobs (`job_codec`); `front:OP` holds those that were started and put back
    {tmatic:CRAWL}:held        token -> job, worker, budget, grant: what is assigned
    {tmatic:CRAWL}:retry       "OP:account" -> job: failed, resting
    {tmatic:CRAWL}:dead        "OP:account" -> job and the last error message; :dropped holds those that were dropped
    {tmatic:CRAWL}:set:F:N     bucket N of the set F of account ids (seen, seeds, collected); sizes in :sets
    {tmatic:CRAWL}:levels      depth -> accounts whose analysis is pending (breadth first with a depth limit)
    {tmatic:CRAWL}:log         announcements, oldest first; :heads has the last sequence of each topic, :reigns which
                               incarnation assigned which sequences, :readers the position of each consumer
    {tmatic:CRAWL}:totals, :crawl   counters, and what the crawl remembers
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple, TypeVar

import msgpack
import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.sentinel import MasterNotFoundError

from protocol.errors import FencedError, LedgerError
from protocol.jobs import Job, Operation
from storage.ledger.job_codec import unpack_job
from storage.ledger.transitions import Transition, encoded

MAX_TRANSITIONS = 512
"""Transitions in one commit, so that no commit blocks the server for long."""
MAX_DISCOVERIES = 4096
"""Discoveries in one commit; more are split into several commits of the same step."""
REPLICA_WAIT_MS = 1000
LOG_CAP_BYTES = 64 * 1024 * 1024
"""How much of the announcements' log is kept for subscribers that are behind."""
LOG_FLOOR_BYTES = 4 * 1024 * 1024
"""How much of it is always kept, for subscribers that connect late."""
NOBODY = -1
"""The sequence that all readers have passed when there are none."""

STALE, OK, AGAIN, GAP = 0, 1, 2, 3
"""The status of a transition: its token is not held; accepted; accepted before; it skips a step."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Lead:
    """Who leads, as read. No incarnation: nobody leads; no ledger id: nobody ever led. `ended` says how the crawl
    ended when the lead was released at its end, and is "" otherwise."""

    incarnation: str
    beat: int
    epoch: int
    ledger_id: str
    name: str
    ended: str = ""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """An assigned job. `granted` is the number of requests since the lease began."""

    token: str
    job: Job
    worker: str
    budget: str
    granted: int


class Announced(NamedTuple):
    """Which transition of a batch was announced, under which sequence, and the last one before it of its topic."""

    transition: int
    sequence: int
    previous: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a commit: one status per transition (a number, or the assigned jobs), the gauges after it, and
    what was announced, in order."""

    statuses: list[Any]
    lengths: dict[str, int]
    levels: dict[int, int]
    held: int
    retry: int
    dead: int
    seen: int
    announced: tuple[Announced, ...] = ()


class Ledger:
    """One crawl's ledger on one server. Methods block, and raise LedgerError if the server does not serve."""

    def __init__(self, client: redis.Redis, crawl: str, *, replicas: int = 0) -> None:
        """With `replicas`, a write counts when as many replicas have acknowledged it within `REPLICA_WAIT_MS`."""
        self._client = client
        self._replicas = replicas
        self.crawl = crawl
        self.prefix = f"{{tmatic:{crawl}}}:"
        self._source = resources.files(__package__).joinpath("ledger.lua").read_text(encoding="utf-8")
        self._sha = ""

    def observe(self) -> Lead:
        """Who leads."""
        values = self._ask(
            lambda: self._client.hmget(self.prefix + "lead", ["incarnation", "beat", "epoch", "id", "name", "ended"])
        )
        words = [value.decode() if value else "" for value in values]
        return Lead(words[0], int(words[1] or 0), int(words[2] or 0), words[3], words[4], words[5])

    def take(self, incarnation: str, seen: Lead, *, witness: int, ledger_id: str, name: str) -> Lead:
        """Take the lead if it is still as `seen`. `witness` is the highest epoch known elsewhere; `ledger_id` is
        assigned to a ledger that has none. Raises FencedError when the lead differs from what was seen."""
        request = ["take", incarnation, seen.incarnation, seen.beat, witness, ledger_id, name]
        epoch, kept_id = self._call(request)
        return Lead(incarnation, 1, int(epoch), kept_id.decode(), name)

    def release(self, incarnation: str, beat: int, *, ended: str = "") -> None:
        """Release the lead; `ended` says how the crawl ended, if it did. `beat` is the last one that was written.
        Raises FencedError when the lead is not that of `incarnation` and `beat`."""
        self._call(["release", incarnation, beat, ended])

    def commit(
        self,
        incarnation: str,
        beat: int,
        transitions: Sequence[Transition],
        queues: Sequence[str],
        *,
        max_users: int = 0,
        newcomers: str = "",
        passed: int = NOBODY,
    ) -> Reply:
        """Commit a batch in one atomic step. `beat` is the last one that this incarnation wrote; it becomes beat + 1.
        Accounts that are new to the crawl are also added to the set `newcomers`, if one is named. `passed` is the
        sequence that every reader of the log has passed.

        Raises FencedError when another leads or the ledger was rolled back, LedgerError when the server does not serve;
        after the latter it is unknown whether the batch was committed, and the lead must be taken again.
        """
        batch = [encoded(transition) for transition in transitions]
        request = ["commit", incarnation, beat, batch, queues, max_users, LOG_CAP_BYTES, newcomers]
        request += [passed, LOG_FLOOR_BYTES]
        statuses, lengths, levels, (held, retry, dead, seen), told = self._call(request)
        followed = zip(told[1::2], told[2::2], strict=True)
        return Reply(
            statuses,
            dict(zip(queues, lengths, strict=True)),
            {int(levels[i]): int(levels[i + 1]) for i in range(0, len(levels), 2)},
            held,
            retry,
            dead,
            seen,
            tuple(Announced(which - 1, told[0] + n, before) for n, (which, before) in enumerate(followed)),
        )

    def held(self) -> dict[str, LeaseRecord]:
        """Every lease, by its token, in the order of the tokens."""
        leases = {}
        for token, packed in sorted(self._scan_hash("held")):
            record, worker, budget, granted = msgpack.unpackb(packed, raw=True)
            name = token.decode()
            leases[name] = LeaseRecord(name, unpack_job(record), worker.decode(), budget.decode(), granted)
        return leases

    def retry(self) -> dict[str, Job]:
        """The jobs that wait for a retry after a failed try, by "OP:account", in the order of these names."""
        return {field.decode(): unpack_job(record) for field, record in sorted(self._scan_hash("retry"))}

    def levels(self) -> dict[int, int]:
        """How many accounts of each depth still await analysis, by the stored counts."""
        raw = self._ask(lambda: self._client.hgetall(self.prefix + "levels"))
        return {int(level): int(accounts) for level, accounts in raw.items()}

    def dead(self) -> Iterator[tuple[Job, str]]:
        """The dead letters: the job as it stood, and the last error message."""
        for _, packed in self._scan_hash("dead"):
            record, words = msgpack.unpackb(packed, raw=True)
            yield unpack_job(record), words.decode(errors="replace")

    def dropped(self) -> Iterator[tuple[Job, str]]:
        """The dead letters that were dropped by hand."""
        for _, packed in self._scan_hash("dropped"):
            record, words = msgpack.unpackb(packed, raw=True)
            yield unpack_job(record), words.decode(errors="replace")

    def letter(self, name: str) -> bytes | None:
        """The raw record of the dead letter "OP:account", None when there is none."""
        letter: bytes | None = self._ask(lambda: self._client.hget(self.prefix + "dead", name))
        return letter

    def readers(self) -> dict[str, int]:
        """The position of each consumer of the log, by its name."""
        raw = self._ask(lambda: self._client.hgetall(self.prefix + "readers"))
        return {name.decode(errors="replace"): int(sequence) for name, sequence in raw.items()}

    def reigns(self) -> list[tuple[str, int]]:
        """The incarnations that announced something, the last thousand of them, with the first sequence of each."""
        raw = self._ask(lambda: self._client.lrange(self.prefix + "reigns", 0, -1))
        return [(incarnation.decode(), first) for incarnation, first in map(_unpacked, raw)]

    def totals(self) -> dict[str, int]:
        """Every counter by its name, and the pages of each operation: the steps that were reported one by one, and the
        last page of each complete job, which is reported with its end."""
        raw = self._ask(lambda: self._client.hgetall(self.prefix + "totals"))
        totals = {name.decode(): int(value) for name, value in raw.items()}
        for letter in (operation.value for operation in Operation):
            if pages := totals.get(f"{letter}.steps", 0) + totals.get(f"{letter}.complete", 0):
                totals[f"{letter}.pages"] = pages
        return totals

    def heads(self) -> dict[str, int]:
        """The last sequence of each topic; that of the whole log under ""."""
        raw = self._ask(lambda: self._client.hgetall(self.prefix + "heads"))
        return {topic.decode(): int(last) for topic, last in raw.items() if topic not in (b"bytes", b"reign")}

    def remembered(self) -> dict[str, str]:
        """What the crawl remembers about itself."""
        raw = self._ask(lambda: self._client.hgetall(self.prefix + "crawl"))
        return {name.decode(): value.decode() for name, value in raw.items()}

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Members and buckets of each set of accounts."""
        raw = self._ask(lambda: self._client.hgetall(self.prefix + "sets"))
        words = {name.decode(): int(value) for name, value in raw.items()}
        names = {name.rpartition(".")[0] for name in words}
        return {name: (words.get(f"{name}.members", 0), words.get(f"{name}.buckets", 1)) for name in names}

    def accounts(self, family: str) -> Iterator[str]:
        """Every member of a set, in no order; one bucket is read at a time.

        A set that grows meanwhile is read to its new end: a split moves members to a bucket that is still to be read,
        so that none is missed; a member that was moved after it was read may appear twice.
        """
        bucket = -1
        while (bucket := bucket + 1) < self.sizes().get(family, (0, 0))[1]:
            key = f"{self.prefix}set:{family}:{bucket}"
            members: Any = self._ask(lambda key=key: self._client.smembers(key))  # type: ignore[misc]
            yield from sorted(member.decode() for member in members)

    def length(self, queue: str) -> int:
        """How many records wait in a queue."""
        return int(self._ask(lambda: self._client.llen(f"{self.prefix}queue:{queue}")))

    def beginning(self, queue: str, most: int) -> list[bytes]:
        """The first raw records of a queue."""
        records: list[bytes] = self._ask(lambda: self._client.lrange(f"{self.prefix}queue:{queue}", 0, most - 1))
        return records

    def queue(self, name: str, *, chunk: int = 1000) -> Iterator[bytes]:
        """The raw records of a queue from its head (ids for `collected`)."""
        first = 0
        while True:
            records = self._ask(
                lambda first=first: self._client.lrange(f"{self.prefix}queue:{name}", first, first + chunk - 1)  # type: ignore[misc]
            )
            yield from records
            if len(records) < chunk:
                return
            first += chunk

    def queue_names(self) -> list[str]:
        """The queues that hold something."""
        pattern = self.prefix.replace("{", "\\{").replace("}", "\\}") + "queue:*"
        found = self._ask(lambda: list(self._client.scan_iter(match=pattern, count=1000)))
        return sorted(key.decode().partition(":queue:")[2] for key in found)

    def log(self, first: int = 0, last: int = -1) -> list[tuple[int, int, str, bytes]]:
        """Announcements as (sequence, previous of the topic, topic, body), by position in what is kept of the log."""
        raw = self._ask(lambda: self._client.lrange(self.prefix + "log", first, last))
        entries = [msgpack.unpackb(entry, raw=True) for entry in raw]
        return [(sequence, previous, topic.decode(), body) for sequence, previous, topic, body in entries]

    def _scan_hash(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        cursor = 0
        while True:
            cursor, part = self._ask(lambda at=cursor: self._client.hscan(self.prefix + name, at, count=1000))  # type: ignore[misc]
            yield from part.items()
            if cursor == 0:
                return

    def _call(self, request: list[Any]) -> Any:
        packed = msgpack.packb(request, use_bin_type=False)
        key = self.prefix + "lead"

        def run() -> Any:
            if not self._sha:
                self._sha = str(self._client.script_load(self._source))
            try:
                return self._acknowledged(lambda to: to.evalsha(self._sha, 1, key, self.prefix, packed))
            except NoScriptError:
                return self._acknowledged(lambda to: to.eval(self._source, 1, key, self.prefix, packed))

        return msgpack.unpackb(self._ask(run), raw=True, strict_map_key=False)

    def _acknowledged(self, write: Callable[[redis.Redis], Any]) -> Any:
        """The answer to a write, once the required replicas hold what it wrote. WAIT covers the writes of its own
        connection, so both use the same one: on another it would return at once and mean nothing."""
        if not self._replicas:
            return write(self._client)
        with self._client.pipeline(transaction=False) as pipe:
            write(pipe)
            pipe.wait(self._replicas, REPLICA_WAIT_MS)
            answer, acknowledged = pipe.execute(raise_on_error=False)
        for said in (answer, acknowledged):
            if isinstance(said, Exception):
                raise said
        if acknowledged < self._replicas:
            raise _UnacknowledgedError
        return answer

    def _ask(self, question: Callable[[], Answer]) -> Any:
        try:
            return question()
        except (RedisError, OSError) as error:
            # That server may not be the primary any more: the next call reconnects, to the primary.
            self._client.connection_pool.disconnect()
            raise in_words(error) from error


_SCRIPT = re.compile(r"\s*script: [0-9a-f]{40}, on @?user_script:\d+\.?")
"""Where in a script a server refused a command: it varies, and is of no use to the operator."""


class _UnacknowledgedError(RedisError):
    """A write that no replica has acknowledged."""


def _unpacked(packed: bytes) -> Any:
    return msgpack.unpackb(packed, raw=True)


def in_words(error: Exception) -> LedgerError:
    """A failure of the server as a message for the operator."""
    said = _SCRIPT.sub("", str(error))
    if "FENCED" in said:
        return FencedError(f"the ledger refused a write: {said.partition('FENCED ')[2] or said}")
    if isinstance(error, _UnacknowledgedError):
        return LedgerError(f"no replica of the ledger's server acknowledged a write within {REPLICA_WAIT_MS} ms")
    if isinstance(error, MasterNotFoundError):
        return LedgerError(said)
    if isinstance(error.__context__, ReadOnlyError):  # how the library reports it for a sentinels' primary
        return LedgerError("the ledger's server has become a replica: the sentinels are asked for the new primary")
    if isinstance(error, BusyLoadingError):
        return LedgerError("the ledger's server is still loading its data; waiting for it")
    if isinstance(error, ReadOnlyError) or "READONLY" in said:
        return LedgerError("the ledger's server is a read-only replica: point --redis at the primary")
    if isinstance(error, OutOfMemoryError) or "OOM" in said:
        return LedgerError(
            "the ledger's server is out of memory: raise its maxmemory, and set its policy to noeviction"
        )
    if "MISCONF" in said:
        return LedgerError("the ledger's server cannot write to its disk: make room there; it goes on by itself")
    if isinstance(error, AuthenticationError):
        return LedgerError("the ledger's server wants another password: give it in the URL by TMATIC_REDIS")
    if isinstance(error, NoPermissionError):
        return LedgerError(
            f"the ledger's server refused: {said}; give its user the right to all commands on these keys"
        )
    if isinstance(error, ResponseError):
        return LedgerError(f"the ledger's server refused: {said}")
    return LedgerError(f"the ledger's server does not answer: {said}")
