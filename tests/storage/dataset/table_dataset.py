"""A dataset in one SQLite file, `table:///PATH`, against the public interface alone: what another backend takes.

Run with the name of a command's module and its words, it is that command with this backend registered.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import io
import json
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from protocol.errors import DatasetError
from protocol.jobs import Operation, Segment
from protocol.settings.settings import Settings
from storage.dataset.interface import Counts, NoListError, Page, RecordKind, SegmentLostError, record_id
from storage.dataset.open import register_dataset
from storage.dataset.receipts import (
    CursorChain,
    FileRecord,
    FileState,
    Receipt,
    ReceiptDraft,
    pack_record,
    unpack_record,
)

TABLES = """
create table if not exists pages (token, start, end, cursor, body, primary key (token, start));
create table if not exists lists (user, kind, body, record, primary key (user, kind));
create table if not exists facts (name primary key, value);
"""


class TableDataset:
    """Each call is one transaction over a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
                connection.executescript(TABLES)
                connection.execute("begin immediate")
                yield connection
                connection.execute("commit")
        except sqlite3.Error as error:
            raise DatasetError(f"{self.where}: {error}") from error

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._open() as connection:
            return connection.execute(query, values).fetchall()

    @property
    def where(self) -> str:
        return f"table://{self._path}"

    @property
    def is_there(self) -> bool:
        return self._path.exists()

    def require_there(self) -> None:
        if not self.is_there:
            raise DatasetError(f"there is no dataset in {self.where}")

    def append(self, user: str, operation: Operation, token: str, offset: int, page: Page) -> int:
        body = b"".join(record.line + b"\n" for record in page.records)
        end = offset + max(1, len(body))
        with self._open() as connection:
            connection.execute("delete from pages where token = ? and start >= ?", (token, offset))
            there = connection.execute("select max(end) from pages where token = ?", (token,)).fetchone()[0] or 0
            if there != offset:
                raise SegmentLostError(f"the segment of lease {token} has {there} bytes, not {offset}")
            connection.execute("insert into pages values (?, ?, ?, ?, ?)", (token, offset, end, page.cursor, body))
        return end

    def payload(self, operation: Operation, page: Page) -> bytes:
        return gzip.compress(b"".join(record.line + b"\n" for record in page.records))

    def close(self, token: str) -> None:
        pass

    def _pages(self, segments: Iterable[Segment]) -> list[tuple[str, bytes]]:
        """The cursor and the lines of each accepted page."""
        found: list[tuple[str, bytes]] = []
        for one in segments:
            query = "select cursor, body, end from pages where token = ? and end <= ? order by start"
            rows = self._rows(query, one.token, one.length)
            if one.length and (not rows or rows[-1][2] != one.length):
                raise SegmentLostError(f"the segment of lease {one.token} is not {one.length} bytes")
            found += [(cursor, body) for cursor, body, _ in rows]
        return found

    def merge(
        self, user: str, operation: Operation, segments: Sequence[Segment], last: Page | None, draft: ReceiptDraft
    ) -> Receipt:
        pages = self._pages(segments)
        if last is not None:
            pages.append((last.cursor, b"".join(record.line + b"\n" for record in last.records)))
        return self._keep(user, operation, pages, draft, wrote=True)

    def record_outcome(self, user: str, operation: Operation, draft: ReceiptDraft) -> Receipt:
        return self._keep(user, operation, [], draft, wrote=False)

    def _keep(
        self, user: str, operation: Operation, pages: list[tuple[str, bytes]], draft: ReceiptDraft, *, wrote: bool
    ) -> Receipt:
        kind = RecordKind.of(operation)
        source = hashlib.sha256(repr((operation.value, draft.tokens, draft.outcome.value, pages)).encode()).hexdigest()
        fresh = [line for _, body in pages for line in body.splitlines()]
        with self._open() as connection:
            row = connection.execute(
                "select body, record from lists where user = ? and kind = ?", (user, kind.value)
            ).fetchone()
            body, before = (row[0], unpack_record(row[1])) if row else (None, None)
            former = before.receipts.get(operation) if before else None
            if former is not None and former.source == source:
                return former
            if wrote:
                united = {record_id(kind, line): line for line in [*(body or b"").splitlines(), *fresh]}
                order = dict.fromkeys(record_id(kind, line) for line in [*fresh, *(body or b"").splitlines()])
                body = b"".join(united[one] + b"\n" for one in order)
            name, digest = f"{user}{kind.value}", hashlib.sha256(body or b"").hexdigest()
            file = None if body is None else FileState(name, len(body), digest, body.count(b"\n"))
            generation = before.generation + 1 if before else 1
            receipt = Receipt(
                draft.crawl, user, operation, draft.outcome, draft.expected, len(fresh), file.records if file else 0,
                len(pages), CursorChain.of(tuple(cursor for cursor, _ in pages)), draft.tokens, draft.started,
                draft.finished, file.name if file else "", file.bytes if file else 0, file.sha256 if file else "",
                draft.why, generation, before.file.sha256 if before and before.file else "", source,
            )  # fmt: skip
            receipts = before.receipts if before else {}
            record = FileRecord(user, kind.value[1:], generation, "", wrote, file, receipts).with_receipt(receipt)
            row = (user, kind.value, body, pack_record(record))
            connection.execute("insert or replace into lists values (?, ?, ?, ?)", row)
        return receipt

    def discard(self, segments: Iterable[Segment]) -> None:
        for one in segments:
            self._rows("delete from pages where token = ?", one.token)

    def require(self, segments: Iterable[Segment]) -> None:
        self._pages(segments)

    def cursors(self, segments: Iterable[Segment]) -> Iterator[str]:
        return (cursor for cursor, _ in self._pages(segments))

    def segments(self) -> Iterator[Segment]:
        return (Segment(*row) for row in self._rows("select token, max(end) from pages group by token"))

    def _body(self, user: str, kind: RecordKind) -> bytes | None:
        rows = self._rows("select body from lists where user = ? and kind = ?", user, kind.value)
        return rows[0][0] if rows else None

    def followers(self, user: str) -> Iterator[str]:
        if not self.has(user, RecordKind.FOLLOWERS):
            raise NoListError(f"there is no stored follower list for account {user}")
        return (line.decode() for line in self.lines(user, RecordKind.FOLLOWERS))

    def newest(self, user: str) -> str | None:
        return next((record_id(RecordKind.TIMELINE, line) for line in self.lines(user, RecordKind.TIMELINE)), None)

    def lines(self, user: str, kind: RecordKind) -> Iterator[bytes]:
        return iter((self._body(user, kind) or b"").splitlines())

    def has(self, user: str, kind: RecordKind) -> bool:
        return self._body(user, kind) is not None

    def where_of(self, user: str, kind: RecordKind) -> str:
        return f"{self.where}#{user}{kind.value}"

    def accounts(self, kind: RecordKind, nameless: Callable[[str], None] = lambda where: None) -> Iterator[str]:
        query = "select user from lists where kind = ? and body is not null order by user"
        return (user for (user,) in (self._rows(query, kind.value) if self.is_there else ()))

    def scan_counts(self, user: str, kind: RecordKind) -> Counts:
        ids = [record_id(kind, line) for line in self.lines(user, kind)]
        return Counts(len(ids), len(set(ids)))

    def receipt(self, user: str, operation: Operation) -> Receipt | None:
        query = "select record from lists where user = ? and kind = ?"
        rows = self._rows(query, user, RecordKind.of(operation).value)
        return unpack_record(rows[0][0]).receipts.get(operation) if rows else None

    def finished(self, user: str, operation: Operation, crawl: str) -> Receipt | None:
        receipt = self.receipt(user, operation)
        return receipt if receipt is not None and receipt.crawl == crawl else None

    def receipts(self) -> Iterator[Receipt]:
        return (receipt for record in self.records() for receipt in record.receipts.values())

    def records(self, damaged: Callable[[DatasetError], None] | None = None) -> Iterator[FileRecord]:
        return (unpack_record(raw) for (raw,) in self._rows("select record from lists order by user, kind"))

    def set_aside(self, record: FileRecord) -> str | None:
        self._rows("update lists set body = null where user = ? and kind = ?", record.user, f".{record.kind}")
        return None

    def keep(self, name: str, write: Callable[[BinaryIO], None]) -> str:
        written = io.BytesIO()
        write(written)
        self._fact(f"document {name}", written.getvalue())
        return f"{self.where}#{name}"

    def _fact(self, name: str, value: Any) -> None:
        self._rows("insert or replace into facts values (?, ?)", name, value)

    def _facts(self, like: str) -> dict[str, Any]:
        rows = self._rows("select name, value from facts where name like ?", like) if self.is_there else ()
        return {name.partition(" ")[2]: value for name, value in rows}

    def highest_epoch(self) -> int:
        return max(map(int, self._facts("epoch %")), default=0)

    def witness_epoch(self, epoch: int) -> None:
        self._fact(f"epoch {epoch}", epoch)

    def ledger_id(self, crawl: str) -> str | None:
        return self._facts("ledger %").get(crawl)

    def set_ledger_id(self, crawl: str, ledger: str) -> None:
        self._fact(f"ledger {crawl}", ledger)

    def crawls(self) -> list[str]:
        return sorted(self._facts("ledger %"))

    def manifest(self) -> Any:
        """What the master kept at the end."""
        return json.loads(self._facts("document %")["manifest.json"])

    def check(self) -> None:
        self._rows("select 1")

    def recover(self) -> None:
        pass


def table_dataset(settings: Settings) -> TableDataset:
    return TableDataset(Path(str(settings.output_directory).partition(":")[2]))


def register() -> None:
    """Have this process know the backend."""
    register_dataset("table", table_dataset)


if __name__ == "__main__":
    register()
    module = sys.argv[1]
    sys.argv[:2] = [module]
    importlib.import_module(module).main()
