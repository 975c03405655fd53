"""Profiles, pages, events and a dataset with real files, for the tests of the lookup."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from protocol.jobs import Operation
from services.lookup.profiles import KnownProfile, newest, parsed
from services.lookup.reading import LookupReader
from services.subscriber.consumer import Event, Position
from storage.dataset.files.dataset import FileDataset
from storage.dataset.files.text import lines_of_file
from storage.dataset.interface import Page, Record, RecordKind, record_id
from storage.dataset.receipts import ReceiptDraft


def profile(number: int | str, called: str | None = None, *, posts: int = 0, **more: Any) -> bytes:
    """One as a service writes it. `posts` makes it newer."""
    named = {"screen_name": called if called is not None else f"user{number}"}
    return orjson.dumps({"id_str": str(number), **named, "statuses_count": posts, **more})


def payload(lines: Iterable[bytes]) -> bytes:
    """As it rides along with an event."""
    return gzip.compress(b"".join(line + b"\n" for line in lines), 1)


def page_event(sequence: int, user: str, received: int, lines: Sequence[bytes] | None) -> Event:
    """A page of an analysis that goes on; `received` counts its records too."""
    record = [user, received, "cursor", "token", 100, "A"]
    return Event(sequence, "user.page", record, None if lines is None else payload(lines))


def done_event(
    sequence: int, user: str, received: int, lines: Sequence[bytes] | None, *, outcome: str = "complete", of: str = "A"
) -> Event:
    """The end of a job."""
    record = [of, user, outcome, received, 0, "", "worker"]
    return Event(sequence, "job.done", record, None if lines is None else payload(lines))


def dead_event(sequence: int, user: str) -> Event:
    return Event(sequence, "job.dead", ["A", user, 5, "in words", "worker"])


def at(sequence: int, ledger: str = "ledger") -> Position:
    return Position(ledger, "incarnation", sequence)


def store_profiles(dataset: FileDataset, user: str, lines: Iterable[bytes], token: str = "t") -> None:
    """The `.inf` file of an account, as a worker writes it."""
    records = tuple(Record(record_id(RecordKind.PROFILES, line), line) for line in lines)
    dataset.merge(user, Operation.ANALYSE, [], Page(records), ReceiptDraft("main", tokens=(token,)))


def in_files(dataset: FileDataset) -> dict[str, bytes]:
    """What the dataset says: by id, the profile that counts, from every `.inf` file."""
    files = [path for kind, path in dataset.files() if kind is RecordKind.PROFILES]
    found: list[KnownProfile] = [parsed(line) for path in files for line in lines_of_file(path)]
    return {identifier: one.body for identifier, one in newest(found).items()}


def in_lookup(path: Path) -> dict[str, bytes]:
    """What the lookup answers for every id that it knows."""
    reading = LookupReader(path)
    ids = [row[0] for row in reading._connection.execute("SELECT DISTINCT id FROM profile")]
    return {identifier: body for identifier, body in reading.by_ids(ids).items() if body is not None}
