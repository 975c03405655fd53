"""How new content of a data file replaces the old, on any file system that has hard links.

There is no lock. Each content is a generation, and generation N+1 belongs to the writer that first links its record:

    find    the highest generation N; put its data in place if they still wait; read the file, compute the merge
    write   the data under a name unique to this commit, and a record that names them and N; sync both
    offer   link the record as generation N+1. If the name exists already, another writer was first: restart
    look    for a generation above N+1. If there is one, this writer was late (N+1 had been pruned): remove the link
    place   rename the data onto the file; if they are gone, another process that found generation N+1 has done it
    prune   remove the generations below N

The link is the commit. A crash before it leaves unreferenced files; a crash after it leaves data that the next `find`,
or `recover`, puts in place. Data of generation N are always placed before N+1 can be linked, so a late rename finds
nothing to rename, and newer content is never replaced. The generation below the current one is kept, so that a listing
that races with a commit still sees one of the two.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from protocol.errors import DatasetError, MalformedError
from protocol.jobs import Operation, Segment
from storage.dataset.files.naming import bucket, directory, escaped
from storage.dataset.interface import Page, RecordKind
from storage.dataset.receipts import (
    MAX_RECORD_BYTES,
    FileRecord,
    FileState,
    Receipt,
    ReceiptDraft,
    pack_record,
    unpack_record,
)
from storage.durable import PRIVATE, StrPath, in_words, make_directory, sync_directory, write_new

_RECORD = re.compile(r"(?P<stem>[^.]+)\.(?P<kind>twt|fws|inf)\.(?P<generation>\d{10})\.json")
_PENDING = re.compile(
    r"(?P<stem>[^.]+)\.(?P<kind>twt|fws|inf)\.(?P<base>\d+)\.(?P<unique>[0-9a-f]{16})(?P<record>\.json)?"
)


@dataclass(frozen=True, slots=True)
class Place:
    """One data file: its account, its kind, its name without extension, and its path below the output."""

    user: str
    kind: RecordKind
    stem: str
    name: str

    @classmethod
    def of(cls, user: str, kind: RecordKind) -> Place:
        """The place of an account's file."""
        stem = escaped(user)
        return cls(user, kind, stem, f"{directory(user)}/{stem}{kind.value}")

    @classmethod
    def of_stem(cls, stem: str, kind: str) -> Place:
        """The place of a file whose name is known; its account need not be."""
        return cls("", RecordKind(f".{kind}"), stem, f"{stem}.{kind}")

    @property
    def short(self) -> str:
        """The prefix of the names of its records and pending data."""
        return f"{self.stem}{self.kind.value}"


class Commits:
    """The generations of all data files of one output directory."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.pending = output / PRIVATE / "pending"
        self.records = output / PRIVATE / "receipts"
        # Joining paths with pathlib takes a fifth of the CPU of a small merge.
        self._pending = str(self.pending)
        self._records = str(self.records)

    def new_writer(self, place: Place, base: int) -> str:
        """A name that is unique to this commit and contains its base generation."""
        return f"{place.short}.{base}.{os.urandom(8).hex()}"

    def current(self, place: Place) -> FileRecord | None:
        """The record of the highest generation, None before the first."""
        for _ in range(16):
            generation = max(self._generations(place), default=0)
            if not generation:
                return None
            try:
                return self._read(self._path(place, generation))
            except FileNotFoundError:
                continue  # pruned between the listing and the read: a higher one exists
        raise DatasetError(f"the receipts of {place.name} change faster than they can be read; try again")

    def offer(self, place: Place, record: FileRecord) -> bool:
        """Make this record the next generation, durably; False when another was first. The data must be durable."""
        prepared = f"{self._pending}/{record.writer}.json"
        path = self._path(place, record.generation)
        write_new(prepared, pack_record(record))
        try:
            self._link(prepared, path)
        except FileExistsError:
            # A network file system may repeat a link whose answer was lost, and then report that the name exists.
            if not self._is_ours(path, record):
                return False
        finally:
            _unlink(prepared)
        sync_directory(os.path.dirname(path))
        return True

    def look(self, place: Place, record: FileRecord) -> list[int] | None:
        """The existing generations, this one the highest; None when it was late, and its link is removed."""
        there = self._generations(place)
        if max(there, default=0) <= record.generation:
            return there
        _unlink(self._path(place, record.generation))
        return None

    def put_in_place(self, record: FileRecord) -> None:
        """Rename the data of a committed record onto the file, unless that is done already."""
        if not record.wrote or record.file is None:
            return
        target = f"{self.output}/{record.file.name}"
        waiting = f"{self._pending}/{record.writer}"
        try:
            os.rename(waiting, target)
        except FileNotFoundError:
            if not os.path.exists(waiting):
                return
            make_directory(Path(target).parent)
            try:
                os.rename(waiting, target)
            except FileNotFoundError:
                return
        sync_directory(os.path.dirname(target))

    def prune(self, place: Place, generation: int, there: list[int]) -> None:
        """Remove, of the generations `there`, those that are two or more below this one."""
        for older in there:
            if older < generation - 1:
                _unlink(self._path(place, older))

    def all(self, damaged: Callable[[DatasetError], None] | None = None) -> Iterator[FileRecord]:
        """The current record of every data file, in the order of the buckets and names.

        A record that cannot be read goes to `damaged`, or is raised without it.
        """
        for folder in _names(self.records):
            highest: dict[tuple[str, str], int] = {}
            for name in _names(self.records / folder):
                if match := _RECORD.fullmatch(name):
                    key = match["stem"], match["kind"]
                    highest[key] = max(highest.get(key, 0), int(match["generation"]))
            for stem, kind in highest:
                try:
                    record = self.current(Place.of_stem(stem, kind))
                except DatasetError as error:
                    if damaged is None:
                        raise
                    damaged(error)
                    continue
                if record is not None:
                    yield record

    def recover(self) -> None:
        """Put committed data in place, and remove data that can never be committed.

        Data that another process may be about to commit stay: only those that were built on a generation below the
        current one are removed, because their commit would be refused.
        """
        for name in _names(self.pending):
            match = _PENDING.fullmatch(name)
            if match is None:
                continue
            record = self.current(Place.of_stem(match["stem"], match["kind"]))
            if record is None:
                continue
            if record.wrote and record.writer == name:
                self.put_in_place(record)
            elif int(match["base"]) < record.generation:
                _unlink(f"{self._pending}/{name}")

    def leftovers(self) -> list[str]:
        """Names of data and records that are pending, or that a crash left."""
        return _names(self.pending)

    def waiting(self, record: FileRecord) -> Path | None:
        """The data of a record that are committed and not in place yet."""
        path = self.pending / record.writer
        return path if record.wrote and path.exists() else None

    def _path(self, place: Place, generation: int) -> str:
        return f"{self._records}/{bucket(place.stem)}/{place.short}.{generation:010d}.json"

    def _generations(self, place: Place) -> list[int]:
        start = place.short + "."
        return [
            int(name[len(start) : -5])
            for name in _names(f"{self._records}/{bucket(place.stem)}")
            if name.startswith(start) and _RECORD.fullmatch(name)
        ]

    def _read(self, path: str) -> FileRecord:
        try:
            with open(path, "rb") as file:
                raw = file.read(MAX_RECORD_BYTES + 1)
        except IsADirectoryError as error:
            raise DatasetError(f"{path} is a directory where a receipt should be: move it away") from error
        if len(raw) > MAX_RECORD_BYTES:
            raise DatasetError(f"{path} has more than {MAX_RECORD_BYTES:,} bytes and is no receipt of ours")
        try:
            return unpack_record(raw)
        except MalformedError as error:
            raise DatasetError(
                f"{path}: {error}; move it away, and the job's receipt is lost but its data stay"
            ) from error

    def _is_ours(self, path: str, record: FileRecord) -> bool:
        try:
            return self._read(path).writer == record.writer
        except FileNotFoundError:
            return False

    @staticmethod
    def _link(prepared: str, path: str) -> None:
        try:
            os.link(prepared, path)
        except FileNotFoundError:
            make_directory(Path(path).parent)
            os.link(prepared, path)


def _unlink(path: str) -> None:
    """Remove a file; a missing one is fine."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _names(path: StrPath) -> list[str]:
    """The names in a directory, sorted; none when it does not exist."""
    try:
        with in_words(f"list {path}"):
            return sorted(os.listdir(path))
    except DatasetError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise


def merge_digest(
    operation: Operation, segments: Sequence[Segment], last: Page | None, draft: ReceiptDraft, without_data: bool
) -> str:
    """The digest that identifies a merge: its leases, their accepted lengths, and its last page."""
    digest = hashlib.sha256(repr((operation.value, draft.tokens, without_data, draft.outcome.value)).encode())
    for segment in segments:
        digest.update(f"\n{segment.token} {segment.length}".encode())
    if last is not None:
        digest.update(f"\n{len(last.records)} {last.cursor}\n".encode())
        digest.update(b"\n".join(record.line for record in last.records))
    return digest.hexdigest()


def next_record(
    place: Place,
    generation: int,
    writer: str,
    wrote: bool,
    base: FileRecord | None,
    state: FileState | None,
    receipt: Receipt,
) -> FileRecord:
    """The next generation of a file, with this receipt in it."""
    before = base.file if base else None
    receipt = replace(receipt, generation=generation, previous=before.sha256 if before else "")
    if state is not None:
        receipt = replace(receipt, file=state.name, bytes=state.bytes, sha256=state.sha256, total=state.records)
    kind = place.kind.value[1:]
    record = FileRecord(place.user, kind, generation, writer, wrote, state, base.receipts if base else {})
    return record.with_receipt(receipt)
