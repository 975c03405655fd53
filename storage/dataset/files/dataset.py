"""The dataset in files: `OUTPUT/22/22013880.twt`, `.fws` and `.inf`, which `zcat` reads.

Segments, receipts and unfinished data are in `OUTPUT/.tmatic/`. `storage/dataset/files/commits.py` describes how new
content replaces the old, `storage/dataset/files/merge.py` how the two are merged.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from protocol.errors import DatasetError, MalformedError
from protocol.jobs import Operation, Segment
from storage.dataset.files.commits import Commits, Place, merge_digest, next_record
from storage.dataset.files.contents import Contents
from storage.dataset.files.gzip_members import Chunk, ForeignError, GzipMembers, encode_page
from storage.dataset.files.merge import count, union
from storage.dataset.files.naming import unescaped
from storage.dataset.files.segments import Segments
from storage.dataset.files.text import lines_of_file
from storage.dataset.files.volume import Volume
from storage.dataset.interface import Counts, NoListError, Page, RecordKind, SegmentLostError, record_id
from storage.dataset.receipts import CursorChain, FileRecord, Receipt, ReceiptDraft
from storage.durable import PRIVATE, in_words, make_directory, sync_directory

_MAX_ATTEMPTS = 64
"""How often a merge restarts because another one of the same file committed first."""
SET_ASIDE = "damaged"
"""Where damaged files are kept, below `.tmatic/`."""


class FileDataset:
    """A dataset below one directory. `temporary` is where segments go, on the same volume; by default in `.tmatic/`.

    `compress` false leaves the finished files plain. Any disk failure raises DatasetError, with one sentence.
    """

    def __init__(self, output: Path, *, temporary: Path | None = None, compress: bool = True) -> None:
        self.output = output
        self._commits = Commits(output)
        self._contents = Contents(self._commits, compress=compress)
        self._segments = Segments((temporary or output / PRIVATE) / "segments")
        self._volume = Volume(output, temporary)

    @property
    def where(self) -> str:
        """The output directory."""
        return str(self.output)

    @property
    def is_there(self) -> bool:
        """Whether this is a dataset: an unmounted volume leaves an empty directory, which is none."""
        return (self.output / PRIVATE).is_dir()

    def require_there(self) -> None:
        """Raises DatasetError when there is no dataset, for callers that would take missing data for deleted data."""
        if not self.is_there:
            raise DatasetError(f"there is no dataset in {self.output}: is its volume mounted, and output right?")

    # ------------------------------------------------------------------------------------------------- pages, merges

    def append(self, user: str, operation: Operation, token: str, offset: int, page: Page) -> int:
        """Write a page durably after the first `offset` bytes of the lease's segment; returns its new length."""
        return self._segments.append(token, offset, encode_page(RecordKind.of(operation), page))

    def payload(self, operation: Operation, page: Page) -> bytes:
        """A page as subscribers receive it: the member that went to its segment, or goes to the file."""
        return encode_page(RecordKind.of(operation), page)

    def close(self, token: str) -> None:
        """Close a lease's segment."""
        self._segments.close(token)

    def merge(
        self, user: str, operation: Operation, segments: Sequence[Segment], last: Page | None, draft: ReceiptDraft
    ) -> Receipt:
        """Merge accepted segments and a last page with the stored file, durably. Repeating it changes nothing."""
        return _result(self.merging(user, operation, segments, last, draft))

    def record_outcome(self, user: str, operation: Operation, draft: ReceiptDraft) -> Receipt:
        """Store the receipt of a job that ended without data; the file stays as it is."""
        return _result(self.merging(user, operation, (), None, draft, without_data=True))

    def merging(
        self,
        user: str,
        operation: Operation,
        segments: Sequence[Segment],
        last: Page | None,
        draft: ReceiptDraft,
        *,
        without_data: bool = False,
    ) -> Generator[str, None, Receipt]:
        """The merge, one step of the commit at a time; before each step it yields the step's name."""
        kind = RecordKind.of(operation)
        place = Place.of(user, kind)
        with in_words(f"merge {self.output / place.name}"), contextlib.ExitStack() as opened:
            fresh = self._fresh(opened, segments, None if last is None else encode_page(kind, last))
            receipt = _drafted(
                user, operation, draft, fresh, merge_digest(operation, segments, last, draft, without_data)
            )
            for _ in range(_MAX_ATTEMPTS):
                yield "find"
                base = self._commits.current(place)
                if base is not None:
                    self._commits.put_in_place(base)
                    former = base.receipts.get(operation)
                    whole = base.file is None or (self.output / base.file.name).exists()
                    if whole and former is not None and former.source == receipt.source:
                        return former
                generation = base.generation + 1 if base else 1
                writer = self._commits.new_writer(place, generation - 1)
                before = base.file if base else None
                try:
                    if without_data:
                        state = before
                    else:
                        yield "write"
                        with self._contents.stored(place) as old:
                            state = self._contents.write(place, writer, union(kind, fresh, old))
                    record = next_record(place, generation, writer, not without_data, base, state, receipt)
                    yield "offer"
                    there = None
                    if self._commits.offer(place, record):
                        yield "look"
                        there = self._commits.look(place, record)
                except Exception:
                    self._forget(place, writer)
                    raise
                if there is None:
                    (self._commits.pending / writer).unlink(missing_ok=True)
                    continue
                yield "place"
                self._commits.put_in_place(record)
                yield "prune"
                self._commits.prune(place, generation, there)
                return record.receipts[operation]
        raise DatasetError(f"{place.name} is being written by so many at once that this merge never came to its turn")

    def _forget(self, place: Place, writer: str) -> None:
        """Remove what a failed attempt wrote, unless it may have been committed before it failed."""
        with contextlib.suppress(OSError, DatasetError):
            record = self._commits.current(place)
            if record is None or record.writer != writer:
                (self._commits.pending / writer).unlink(missing_ok=True)

    def _fresh(self, opened: contextlib.ExitStack, segments: Sequence[Segment], last: bytes | None) -> list[Chunk]:
        chunks: list[Chunk] = []
        for segment in segments:
            if not segment.length:
                continue
            try:
                chunks += opened.enter_context(self._segments.row(segment)).chunks()
            except MalformedError as error:
                raise SegmentLostError(f"the segment of lease {segment.token} is not one of ours: {error}") from error
        if last is not None:
            chunks += GzipMembers.of_bytes("the last page", last).chunks()
        return chunks

    def discard(self, segments: Iterable[Segment]) -> None:
        """Remove the segments of a finished job; missing ones are fine."""
        for segment in segments:
            self._segments.discard(segment.token)

    def require(self, segments: Iterable[Segment]) -> None:
        """Raises SegmentLostError unless all of these exist as far as the ledger accepted them."""
        for segment in segments:
            self._segments.require(segment)

    def cursors(self, segments: Iterable[Segment]) -> Iterator[str]:
        """The cursors of the pages in these segments, from the headers of their members."""
        for segment in segments:
            with contextlib.ExitStack() as opened:
                yield from [chunk.member.cursor for chunk in self._fresh(opened, [segment], None)]

    def segments(self) -> Iterator[Segment]:
        """Every stored segment with its full length."""
        return self._segments.stored()

    # ------------------------------------------------------------------------------------------------------- reading

    def path(self, user: str, kind: RecordKind) -> Path:
        """Where the file of an account is, or would be."""
        return self.output / Place.of(user, kind).name

    def has(self, user: str, kind: RecordKind) -> bool:
        """Whether an account has a file of this kind."""
        path = self.path(user, kind)
        with in_words(f"look for {path}"):
            return path.exists()

    def where_of(self, user: str, kind: RecordKind) -> str:
        """The path of an account's file."""
        return str(self.path(user, kind))

    def accounts(self, kind: RecordKind, nameless: Callable[[str], None] = lambda where: None) -> Iterator[str]:
        """The accounts that have a file of this kind, in the order of the files. One that is not in its account's place
        is read by nobody, and is `nameless`."""
        for found, path in self.files() if self.is_there else ():
            if found is kind:
                account = unescaped(path.stem)
                if account is None and (record := self.record_at(path)):
                    account = record.user
                if account and self.path(account, kind) == path:
                    yield account
                else:
                    nameless(str(path))

    def followers(self, user: str) -> Iterator[str]:
        """The stored follower list. Raises NoListError at once when there is none."""
        path = self.path(user, RecordKind.FOLLOWERS)
        if not path.exists():
            raise NoListError(f"there is no stored follower list for account {user}")
        return (_id(path, RecordKind.FOLLOWERS, line) for line in lines_of_file(path))

    def lines(self, user: str, kind: RecordKind) -> Iterator[bytes]:
        """The stored lines, without newlines; none when there is no file."""
        path = self.path(user, kind)
        return lines_of_file(path) if path.exists() else iter(())

    def newest(self, user: str) -> str | None:
        """The id of the newest stored post, from the header of the first member when it has one."""
        place = Place.of(user, RecordKind.TIMELINE)
        path = self.output / place.name
        with in_words(f"read {path}"), contextlib.suppress(FileNotFoundError, ForeignError), path.open("rb") as file:
            handle = file.fileno()
            row = GzipMembers.of_file(str(path), handle, os.fstat(handle).st_size)
            if file.read(2) == b"\x1f\x8b":
                member = row.chunk_at(0).member
                return member.first if member.count else None
        for line in self.lines(user, RecordKind.TIMELINE):
            return _id(path, RecordKind.TIMELINE, line)
        return None

    def scan_counts(self, user: str, kind: RecordKind) -> Counts:
        """Records and distinct ids in a file, from its contents; zeros when there is no file."""
        place = Place.of(user, kind)
        with in_words(f"read {self.output / place.name}"), self._contents.stored(place) as chunks:
            return count(kind, chunks)

    def receipt(self, user: str, operation: Operation) -> Receipt | None:
        """The current receipt of an operation on an account."""
        with in_words(f"read the receipts below {self.output}"):
            record = self._commits.current(Place.of(user, RecordKind.of(operation)))
        return record.receipts.get(operation) if record else None

    def finished(self, user: str, operation: Operation, crawl: str) -> Receipt | None:
        """The receipt that a crawl left for an operation on an account, if the data that it describes exist."""
        with in_words(f"read the receipts below {self.output}"):
            record = self._commits.current(Place.of(user, RecordKind.of(operation)))
            receipt = record.receipts.get(operation) if record is not None else None
            if record is None or receipt is None or receipt.crawl != crawl:
                return None
            self._commits.put_in_place(record)
            return receipt if not receipt.file or (self.output / receipt.file).exists() else None

    def receipts(self) -> Iterator[Receipt]:
        """Every current receipt."""
        for record in self.records():
            yield from record.receipts.values()

    def records(self, damaged: Callable[[DatasetError], None] | None = None) -> Iterator[FileRecord]:
        """The current record of every data file, with the file's expected state; unreadable ones go to `damaged`."""
        return self._commits.all(damaged)

    def record_at(self, path: Path) -> FileRecord | None:
        """The current record of the data file with this path."""
        return self._commits.current(Place.of_stem(path.stem, path.suffix[1:]))

    def set_aside(self, record: FileRecord) -> str | None:
        """Move a damaged file out of the dataset, so that its jobs fetch all of it again. It is kept; returns where,
        None when there is no file."""
        if record.file is None:
            return None
        path = self.output / record.file.name
        kept = self.output / PRIVATE / SET_ASIDE / f"{path.name}.{record.generation}"
        with in_words(f"set {path} aside"):
            make_directory(kept.parent)
            try:
                path.rename(kept)
            except FileNotFoundError:
                return None
            sync_directory(kept.parent)
            sync_directory(path.parent)
        return str(kept)

    def keep(self, name: str, write: Callable[[BinaryIO], None]) -> str:
        """Store a file in the output directory, atomically."""
        return self._volume.keep(name, write)

    def waiting(self, record: FileRecord) -> Path | None:
        """Committed data of a record that are not in place yet; `recover` puts them there."""
        return self._commits.waiting(record)

    def leftovers(self) -> list[str]:
        """Names in `.tmatic/pending/`: written by a running merge, or left by a crash."""
        return self._commits.leftovers()

    def files(self) -> Iterator[tuple[RecordKind, Path]]:
        """Every data file, by directory and name."""
        with in_words(f"list {self.output}"):
            folders = sorted(p for p in self.output.iterdir() if p.is_dir() and p.name != PRIVATE)
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    if path.suffix in _ENDINGS:
                        yield RecordKind(path.suffix), path

    # -------------------------------------------------------------------------------------------------- the whole of it

    def highest_epoch(self) -> int:
        """The highest epoch ever witnessed here, 0 for none."""
        return self._volume.highest_epoch()

    def witness_epoch(self, epoch: int) -> None:
        """Store an epoch durably, unless a higher one is known."""
        self._volume.witness_epoch(epoch)

    def ledger_id(self, crawl: str) -> str | None:
        """The id of the ledger that a crawl of this dataset belongs to."""
        return self._volume.ledger_id(crawl)

    def set_ledger_id(self, crawl: str, ledger: str) -> None:
        """Bind a crawl of this dataset to a ledger, durably."""
        self._volume.set_ledger_id(crawl, ledger)

    def crawls(self) -> list[str]:
        """The crawls of this directory that are bound to a ledger."""
        return self._volume.crawls()

    def check(self) -> None:
        """Refuse, with one sentence, a directory that cannot be written or a volume that lacks a needed feature."""
        self._volume.check()

    def recover(self) -> None:
        """Put in place what was committed when a process died."""
        with in_words(f"recover what is unfinished below {self.output}"):
            self._commits.recover()


_ENDINGS = frozenset(kind.value for kind in RecordKind)


def _id(path: Path, kind: RecordKind, line: bytes) -> str:
    try:
        return record_id(kind, line)
    except MalformedError as error:
        raise DatasetError(f"{path} is damaged: {error}") from error


def _result(steps: Generator[str, None, Receipt]) -> Receipt:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            receipt: Receipt = done.value
            return receipt


def _drafted(user: str, operation: Operation, draft: ReceiptDraft, fresh: Sequence[Chunk], source: str) -> Receipt:
    """The receipt as far as it does not depend on the stored file."""
    return Receipt(
        crawl=draft.crawl,
        user=user,
        operation=operation,
        outcome=draft.outcome,
        expected=draft.expected,
        received=sum(chunk.member.count for chunk in fresh),
        total=0,
        pages=len(fresh),
        cursors=CursorChain.of(tuple(chunk.member.cursor for chunk in fresh)),
        tokens=draft.tokens,
        started=draft.started,
        finished=draft.finished,
        file="",
        bytes=0,
        sha256="",
        why=draft.why,
        generation=0,
        previous="",
        source=source,
    )
