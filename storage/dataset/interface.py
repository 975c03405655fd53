"""The dataset, as every backend keeps it: what a page is, what a record is, and what may be asked.

Rules that hold for every backend:

- a page is durable when `append` returns, and not a moment later;
- `merge` is a union by record id and a function of what it is given: to repeat it changes nothing;
- a late writer never replaces newer content, and of two concurrent merges neither is lost;
- whatever ended without data leaves a receipt that says why.

A line of a timeline or of profiles is one JSON object, whose id is the first of `ID_KEYS` that it has. A line of a
follower list is the follower's id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, Protocol

import orjson

from protocol.errors import DatasetError, MalformedError
from protocol.jobs import OPERATIONS, Operation, Segment
from storage.dataset.receipts import FileRecord, Receipt, ReceiptDraft

ID_KEYS = ("id_str", "id", "uri", "did")
"""Where the id of a JSON record stands, the first one present. Numbers count by their digits."""

MAX_ID_CHARACTERS = 1_024
MAX_CURSOR_CHARACTERS = 1_024
MAX_PAGE_BYTES = 64 << 20
"""Bytes of all lines of one page, newlines included."""


class NoListError(DatasetError):
    """There is no stored follower list for this account."""


class SegmentLostError(DatasetError):
    """Pages that the ledger accepted are not in the dataset any more; the job must start again from its beginning."""


class RecordKind(Enum):
    """What a data file holds. The values are the files' endings."""

    TIMELINE = ".twt"
    FOLLOWERS = ".fws"
    PROFILES = ".inf"

    @classmethod
    def of(cls, operation: Operation) -> RecordKind:
        """What an operation writes: T and U timelines, F follower lists, A profiles."""
        return _WRITTEN_BY[operation]


_WRITTEN_BY = {operation: RecordKind(words.ending) for operation, words in OPERATIONS.items()}


@dataclass(frozen=True, slots=True)
class Record:
    """One post, one follower or one profile. `line` has no newline; in a follower list it equals the id."""

    id: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a service. `cursor` is the service's word for where the next page starts, empty for none.

    `packed` keeps what it was packed to: a page goes to its segment or file, and to those who listen.
    """

    records: tuple[Record, ...]
    cursor: str = ""
    packed: dict[RecordKind, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records a file has, and how many different ids among them. Equal, unless something is wrong."""

    records: int
    distinct: int


def record_id(kind: RecordKind, line: bytes) -> str:
    """The id of a stored line. Raises MalformedError when it has none."""
    if kind is RecordKind.FOLLOWERS:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"a follower's id is not UTF-8: {line[:40]!r}") from error
        if not text:
            raise MalformedError("a follower's id is empty")
        return text
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"a line is not JSON: {line[:40]!r}") from error
    if isinstance(value, dict):
        for key in ID_KEYS:
            found = value.get(key)
            if isinstance(found, float):
                found = exactly(line, key)
            if isinstance(found, str) and found:
                return found
            if isinstance(found, int) and not isinstance(found, bool):
                return str(found)
    raise MalformedError(f"a line has no id under any of {', '.join(ID_KEYS)}: {line[:40]!r}")


def exactly(line: bytes, key: str) -> object:
    """What a field of a line holds, whole numbers beyond 64 bits by their digits: orjson makes floats of them."""
    try:
        return json.loads(line).get(key)
    except (ValueError, RecursionError):
        return None


class Dataset(Protocol):
    """What a worker, a master and an auditor ask of the place where the data are.

    All calls are synchronous and may be made from several threads, as long as one token is used by one thread at a
    time. All raise DatasetError with one sentence when the place refuses.
    """

    @property
    def where(self) -> str:
        """The place as messages name it: a directory, or a URL without secrets."""

    @property
    def is_there(self) -> bool:
        """Whether there is a dataset in this place."""

    def require_there(self) -> None:
        """Raises DatasetError when there is no dataset, for who would take what is missing for what is gone."""

    def append(self, user: str, operation: Operation, token: str, offset: int, page: Page) -> int:
        """Keep a page durably behind the first `offset` bytes of the lease's segment, and cut what was beyond them.

        Returns the new length in bytes, which is what the ledger is to accept. Raises SegmentLostError when less
        than `offset` is there.
        """

    def payload(self, operation: Operation, page: Page) -> bytes:
        """A page as those get it who listen: gzip of its lines."""

    def close(self, token: str) -> None:
        """No more pages come under this token from here; whatever is held open for it may go."""

    def merge(
        self,
        user: str,
        operation: Operation,
        segments: Sequence[Segment],
        last: Page | None,
        draft: ReceiptDraft,
    ) -> Receipt:
        """Unite the accepted pages, then `last` (a final page that is in no segment), with what was there.

        Durable when it returns. Raises SegmentLostError when an accepted segment is missing, shorter or damaged.
        """

    def record_outcome(self, user: str, operation: Operation, draft: ReceiptDraft) -> Receipt:
        """Keep the receipt of a job that ended without data. Data that were there stay."""

    def discard(self, segments: Iterable[Segment]) -> None:
        """Remove segments whose job the ledger has finished. Missing ones are fine."""

    def require(self, segments: Iterable[Segment]) -> None:
        """Raises SegmentLostError unless all of these are there as far as the ledger accepted them."""

    def cursors(self, segments: Iterable[Segment]) -> Iterator[str]:
        """The cursors of the pages in these, as far as the ledger accepted them. Raises SegmentLostError."""

    def segments(self) -> Iterator[Segment]:
        """Every segment that is stored now, with its full length."""

    def followers(self, user: str) -> Iterator[str]:
        """The stored follower list in its order. Raises NoListError when there is none."""

    def newest(self, user: str) -> str | None:
        """The id of the newest stored post, None when there is none."""

    def lines(self, user: str, kind: RecordKind) -> Iterator[bytes]:
        """The stored lines in their order, without newlines; none when there is no file."""

    def has(self, user: str, kind: RecordKind) -> bool:
        """Whether lines of this kind, or an empty list of them, are stored for an account."""

    def where_of(self, user: str, kind: RecordKind) -> str:
        """Where the lines of an account are, or would be, as messages name it."""

    def accounts(self, kind: RecordKind, nameless: Callable[[str], None] = lambda where: None) -> Iterator[str]:
        """The accounts that `has` is true of, each once and always in the same order; none without a dataset.

        What does not say whose it is is left out; `nameless` hears where it is.
        """

    def scan_counts(self, user: str, kind: RecordKind) -> Counts:
        """Count what is stored, from what is there and not from receipts; cheaply where the order proves it."""

    def receipt(self, user: str, operation: Operation) -> Receipt | None:
        """The current receipt of an operation on an account."""

    def finished(self, user: str, operation: Operation, crawl: str) -> Receipt | None:
        """The receipt that a crawl left for an operation on an account, if what it speaks of is there."""

    def receipts(self) -> Iterator[Receipt]:
        """Every current receipt."""

    def records(self, damaged: Callable[[DatasetError], None] | None = None) -> Iterator[FileRecord]:
        """One record for each account and kind: its receipts, and what must be stored. Its `file.name` is for messages.

        Records that cannot be read go to `damaged`; without it the first one raises.
        """

    def set_aside(self, record: FileRecord) -> str | None:
        """Take damaged lines out of the dataset, so that their jobs fetch them again. They are kept; returns where,
        None when there are none."""

    def keep(self, name: str, write: Callable[[BinaryIO], None]) -> str:
        """Keep a document beside the data, whole or not at all, in place of one of the same name; returns where."""

    def highest_epoch(self) -> int:
        """The highest epoch ever witnessed here, 0 for none."""

    def witness_epoch(self, epoch: int) -> None:
        """Keep this epoch durably, unless a higher one is known."""

    def ledger_id(self, crawl: str) -> str | None:
        """The id of the ledger that a crawl of this dataset belongs to, None before there is one."""

    def set_ledger_id(self, crawl: str, ledger: str) -> None:
        """Bind a crawl of this dataset to a ledger."""

    def crawls(self) -> list[str]:
        """The crawls of this dataset that are bound to a ledger."""

    def check(self) -> None:
        """Refuse now, with one sentence, what would fail later."""

    def recover(self) -> None:
        """Finish what had been committed when a process died. To be called at start."""
