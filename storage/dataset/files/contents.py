"""The contents of a data file: read as a row of members, from any writer, and written from the pieces of a merge."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from protocol.errors import DatasetError, MalformedError
from storage.dataset.files.commits import Commits, Place
from storage.dataset.files.gzip_members import GZIP_MAGIC, Chunk, ForeignError, GzipMembers, encode
from storage.dataset.files.merge import Piece
from storage.dataset.files.text import lines_of_file
from storage.dataset.interface import RecordKind, record_id
from storage.dataset.receipts import FileState
from storage.durable import create, make_directory, sync_directory, write_all

_REENCODED_BYTES = 1 << 20
"""Bytes of text per member when a foreign file is converted."""

_WRITTEN_AT_ONCE = 64 << 10
"""Bytes that are buffered for one write call."""


class Contents:
    """The contents of the files of one output directory; plain text if `compress` is false."""

    def __init__(self, commits: Commits, *, compress: bool) -> None:
        self._output = commits.output
        self._pending = commits.pending
        self._compress = compress

    def write(self, place: Place, writer: str, pieces: Iterable[Piece]) -> FileState:
        """Write new content under the writer's name, durably; returns its state."""
        handle = create(self._pending / writer)
        try:
            content = _Content(handle)
            records = 0
            for piece in pieces:
                records += piece.member.count if isinstance(piece, Chunk) else len(piece)
                content.add(self._bytes(piece))
            if not records and self._compress:
                content.add(encode((), ()))  # zcat calls an empty file broken
            content.end()
        finally:
            os.close(handle)
        sync_directory(self._pending)
        return FileState(place.name, content.size, content.digest.hexdigest(), records)

    def _bytes(self, piece: Piece) -> bytes:
        if isinstance(piece, Chunk):
            return piece.raw() if self._compress else piece.text()
        lines = [line for _, line in piece]
        if self._compress:
            return encode([identifier for identifier, _ in piece], lines)
        return b"\n".join(lines) + b"\n"

    @contextlib.contextmanager
    def stored(self, place: Place) -> Iterator[list[Chunk]]:
        """The stored members. A plain file, or foreign gzip, is read as if we had written it."""
        path = self._output / place.name
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield []
            return
        try:
            row = GzipMembers.of_file(str(path), handle, os.fstat(handle).st_size)
            try:
                if os.pread(handle, 2, 0) != GZIP_MAGIC:
                    raise ForeignError("a plain file")
                chunks = row.chunks()
            except ForeignError:
                with self._taken_over(path, place.kind) as others:
                    yield others
                return
            yield chunks
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _taken_over(self, path: Path, kind: RecordKind) -> Iterator[list[Chunk]]:
        make_directory(self._pending)
        with tempfile.TemporaryFile(dir=self._pending) as file:
            lines: list[bytes] = []
            size = 0
            for line in lines_of_file(path):
                lines.append(line)
                size += len(line) + 1
                if size >= _REENCODED_BYTES:
                    file.write(_encoded(path, kind, lines))
                    lines, size = [], 0
            file.write(_encoded(path, kind, lines))
            file.flush()
            handle = file.fileno()
            yield GzipMembers.of_file(str(path), handle, file.tell()).chunks()


class _Content:
    """Content being written to an open file: its size, its digest, and the buffer for the next write call."""

    def __init__(self, handle: int) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._handle = handle
        self._waiting: list[bytes] = []
        self._bytes_waiting = 0

    def add(self, data: bytes) -> None:
        self._waiting.append(data)
        self._bytes_waiting += len(data)
        if self._bytes_waiting >= _WRITTEN_AT_ONCE:
            self._write()

    def end(self) -> None:
        """Write the buffer, and make all of it durable."""
        self._write()
        os.fsync(self._handle)

    def _write(self) -> None:
        data = b"".join(self._waiting)
        self._waiting, self._bytes_waiting = [], 0
        self.size += len(data)
        self.digest.update(data)
        write_all(self._handle, data)


def _encoded(path: Path, kind: RecordKind, lines: Sequence[bytes]) -> bytes:
    try:
        return encode([record_id(kind, line) for line in lines], lines)
    except MalformedError as error:
        raise DatasetError(f"{path} cannot be added to: {error}") from error
