"""The dataset's interface, the same for every backend: pages, records, and the calls.

Rules that hold for every backend:

- a page is durable when `append` returns, and not a moment later;
- `merge` is a union by record id and a pure function of its input: repeating it changes nothing;
- a late writer never replaces newer content, and of two concurrent merges neither is lost;
- a job that ended without data leaves a receipt that says why.

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
"""The keys of a JSON record's id; the first one present is used. Numbers are compared by their digits."""

MAX_ID_CHARACTERS = 1_024
MAX_CURSOR_CHARACTERS = 1_024
MAX_PAGE_BYTES = 64 << 20
"""Bytes of all lines of one page, newlines included."""


class NoListError(DatasetError):
    """There is no stored follower list for this account."""


class SegmentLostError(DatasetError):
    """Pages that the ledger accepted are missing from the dataset; the job must restart from its beginning."""


class RecordKind(Enum):
    """What a data file holds. The values are the file extensions."""

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
    """One response of a service. `cursor` is the service's cursor for the next page, empty for none.

    `packed` caches the encoded page, which goes to its segment or file, and to subscribers.
    """

    records: tuple[Record, ...]
    cursor: str = ""
    packed: dict[RecordKind, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of records in a file, and of distinct ids among them. Equal, unless something is wrong."""

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
    """The value of a field of a line, integers beyond 64 bits by their digits: orjson turns them into floats."""
    try:
        return json.loads(line).get(key)
    except (ValueError, RecursionError):
        return None


class Dataset(Protocol):
    """What workers, masters and auditors need from the place where the data are stored.

    All calls are synchronous and may be made from several threads, as long as one token is used by one thread at a
    time. All raise DatasetError with one sentence when the storage fails.
    """

    @property
    def where(self) -> str:
        """The place as messages name it: a directory, or a URL without secrets."""

    @property
    def is_there(self) -> bool:
        """Whether there is a dataset in this place."""

    def require_there(self) -> None:
        """Raises DatasetError when there is no dataset, for callers that would take missing data for deleted data."""

    def append(self, user: str, operation: Operation, token: str, offset: int, page: Page) -> int:
        """Write a page durably after the first `offset` bytes of the lease's segment, and cut what was beyond them.

        Returns the new length in bytes, which the ledger is to accept. Raises SegmentLostError when the segment is
        shorter than `offset`.
        """

    def payload(self, operation: Operation, page: Page) -> bytes:
        """A page as subscribers receive it: gzip of its lines."""

    def close(self, token: str) -> None:
        """The caller appends no more pages under this token; what is open for it may be closed."""

    def merge(
        self,
        user: str,
        operation: Operation,
        segments: Sequence[Segment],
        last: Page | None,
        draft: ReceiptDraft,
    ) -> Receipt:
        """Merge the accepted pages, then `last` (a final page that is in no segment), with the stored lines.

        Durable when it returns. Raises SegmentLostError when an accepted segment is missing, shorter or damaged.
        """

    def record_outcome(self, user: str, operation: Operation, draft: ReceiptDraft) -> Receipt:
        """Store the receipt of a job that ended without data. Existing data stay."""

    def discard(self, segments: Iterable[Segment]) -> None:
        """Remove segments whose job is finished in the ledger. Missing ones are fine."""

    def require(self, segments: Iterable[Segment]) -> None:
        """Raises SegmentLostError unless all of these exist as far as the ledger accepted them."""

    def cursors(self, segments: Iterable[Segment]) -> Iterator[str]:
        """The cursors of the pages in these, as far as the ledger accepted them. Raises SegmentLostError."""

    def segments(self) -> Iterator[Segment]:
        """Every stored segment, with its full length."""

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

        Data without the id of its account are left out; `nameless` is called with their place.
        """

    def scan_counts(self, user: str, kind: RecordKind) -> Counts:
        """Count what is stored, from the data and not from receipts; cheaply where the order proves the count."""

    def receipt(self, user: str, operation: Operation) -> Receipt | None:
        """The current receipt of an operation on an account."""

    def finished(self, user: str, operation: Operation, crawl: str) -> Receipt | None:
        """The receipt that a crawl left for an operation on an account, if the data that it describes exist."""

    def receipts(self) -> Iterator[Receipt]:
        """Every current receipt."""

    def records(self, damaged: Callable[[DatasetError], None] | None = None) -> Iterator[FileRecord]:
        """One record for each account and kind: its receipts, and the expected data. Its `file.name` is for messages.

        Records that cannot be read go to `damaged`; without it the first one raises.
        """

    def set_aside(self, record: FileRecord) -> str | None:
        """Move damaged lines out of the dataset, so that their jobs fetch them again. They are kept; returns where,
        None when there are none."""

    def keep(self, name: str, write: Callable[[BinaryIO], None]) -> str:
        """Store a document beside the data, atomically, replacing one of the same name; returns where."""

    def highest_epoch(self) -> int:
        """The highest epoch ever witnessed here, 0 for none."""

    def witness_epoch(self, epoch: int) -> None:
        """Store this epoch durably, unless a higher one is known."""

    def ledger_id(self, crawl: str) -> str | None:
        """The id of the ledger that a crawl of this dataset belongs to, None before there is one."""

    def set_ledger_id(self, crawl: str, ledger: str) -> None:
        """Bind a crawl of this dataset to a ledger."""

    def crawls(self) -> list[str]:
        """The crawls of this dataset that are bound to a ledger."""

    def check(self) -> None:
        """Raise DatasetError early, with one sentence, for what would fail later."""

    def recover(self) -> None:
        """Complete what was committed when a process died. To be called at start."""
