"""Receipts: the result of a job, written beside the data, one for each (account, operation).

A receipt records what the service promised, what was received, through which pages, under which leases, when, and why
there is no more. The receipts of one data file are stored together in a `FileRecord`, numbered by generation, so that a
timeline's first crawl (`T`) and its updates (`U`) both stay on record while they share a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from protocol.errors import MalformedError
from protocol.jobs import Operation, Outcome

MAX_CURSORS = 1_000
"""Cursors kept of a chain: of a longer one, half of them from its beginning and half from its end."""

MAX_RECORD_BYTES = 16 << 20
"""A larger file record was not written by this project."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class CursorChain:
    """The service's cursors, page by page. Up to 1,000 of them are all in `first`."""

    count: int = 0
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    @classmethod
    def of(cls, cursors: tuple[str, ...]) -> CursorChain:
        """The chain of these cursors, without its middle when it is too long."""
        if len(cursors) <= MAX_CURSORS:
            return cls(len(cursors), cursors)
        half = MAX_CURSORS // 2
        return cls(len(cursors), cursors[:half], cursors[-half:])


@dataclass(frozen=True, slots=True)
class ReceiptDraft:
    """What the worker knows when a job ends; the dataset adds what it stored.

    `expected` is the number of records that the service reported, None when it reported none. `tokens` are the lease
    tokens of the job, the last one its present lease. `started` and `finished` are ISO 8601 times. `why` is a sentence
    that explains why there are no more records; it may be empty for a complete job.
    """

    crawl: str
    outcome: Outcome = Outcome.COMPLETE
    expected: int | None = None
    tokens: tuple[str, ...] = ()
    started: str = ""
    finished: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one job for one account.

    `received` counts the records in the pages of this job, before the union; `total` those in the file after it.
    `file` is relative to the output directory, and empty when there is none; `bytes` and `sha256` are those of the file
    when this receipt was written, `previous` its sha256 just before. `source` is a digest of what was merged, by which
    a repeated merge of a job is recognised.
    """

    crawl: str
    user: str
    operation: Operation
    outcome: Outcome
    expected: int | None
    received: int
    total: int
    pages: int
    cursors: CursorChain
    tokens: tuple[str, ...]
    started: str
    finished: str
    file: str
    bytes: int
    sha256: str
    why: str
    generation: int
    previous: str
    source: str


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a data file: its name relative to the output directory, its size, its digest, its records."""

    name: str
    bytes: int
    sha256: str
    records: int


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One generation of one data file, with the current receipts of the operations that write to it.

    `writer` is a name that is unique to this commit; when `wrote` is true, the data of this generation were written
    under that name first, and may still wait there to be put in place.
    """

    user: str
    kind: str
    generation: int
    writer: str
    wrote: bool
    file: FileState | None
    receipts: Mapping[Operation, Receipt] = field(default_factory=dict)

    def with_receipt(self, receipt: Receipt) -> FileRecord:
        """The same record with the operation's previous receipt replaced by this one."""
        return replace(self, receipts={**self.receipts, receipt.operation: receipt})


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """The receipt as a JSON object, operation and outcome by their values."""
    return {
        "crawl": receipt.crawl,
        "user": receipt.user,
        "operation": receipt.operation.value,
        "outcome": receipt.outcome.value,
        "expected": receipt.expected,
        "received": receipt.received,
        "total": receipt.total,
        "pages": receipt.pages,
        "cursors": {"count": receipt.cursors.count, "first": receipt.cursors.first, "last": receipt.cursors.last},
        "tokens": receipt.tokens,
        "started": receipt.started,
        "finished": receipt.finished,
        "file": receipt.file,
        "bytes": receipt.bytes,
        "sha256": receipt.sha256,
        "why": receipt.why,
        "generation": receipt.generation,
        "previous": receipt.previous,
        "source": receipt.source,
    }


def _receipt(value: dict[str, Any]) -> Receipt:
    chain = value["cursors"]
    return Receipt(
        **{
            **value,
            "operation": Operation(value["operation"]),
            "outcome": Outcome(value["outcome"]),
            "cursors": CursorChain(chain["count"], tuple(chain["first"]), tuple(chain["last"])),
            "tokens": tuple(value["tokens"]),
        }
    )


def pack_record(record: FileRecord) -> bytes:
    """The record as readable JSON."""
    state = record.file
    return orjson.dumps(
        {
            "format": _FORMAT,
            "user": record.user,
            "kind": record.kind,
            "generation": record.generation,
            "writer": record.writer,
            "wrote": record.wrote,
            "file": state and {name: getattr(state, name) for name in ("name", "bytes", "sha256", "records")},
            "receipts": {operation.value: receipt_json(receipt) for operation, receipt in record.receipts.items()},
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )


def unpack_record(raw: bytes) -> FileRecord:
    """The record of these bytes. Raises MalformedError when they are not a record."""
    try:
        value = orjson.loads(raw)
        if value["format"] != _FORMAT:
            raise MalformedError(f"the record has format {value['format']!r}, and only {_FORMAT} is known here")
        state = value["file"]
        return FileRecord(
            user=str(value["user"]),
            kind=str(value["kind"]),
            generation=int(value["generation"]),
            writer=str(value["writer"]),
            wrote=bool(value["wrote"]),
            file=FileState(**state) if state else None,
            receipts={Operation(letter): _receipt(receipt) for letter, receipt in value["receipts"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedError(f"the record cannot be read: {error}") from error
