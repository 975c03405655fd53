"""Segments: the pages of one lease, each appended and made durable before it is reported.

A segment is named by its lease token alone, which is never used twice. Bytes beyond the length that the ledger accepted
are a torn tail, or a page that was not acknowledged: the next append cuts them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from protocol.jobs import Segment
from storage.dataset.files.gzip_members import GzipMembers
from storage.dataset.files.naming import escaped, unescaped
from storage.dataset.interface import SegmentLostError
from storage.durable import in_words, make_directory, sync_directory, write_all

_ENDING = ".seg"
_MAX_OPEN = 128
"""Segments that stay open between pages; beyond it, the one that was opened first is closed."""


class Segments:
    """The segments in one directory. Several threads may append, each to its own segments."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()

    def append(self, token: str, offset: int, member: bytes) -> int:
        """Write a member after the first `offset` bytes, durably; returns the new length.

        Raises SegmentLostError when the segment is missing or shorter than `offset`, DatasetError when the disk
        fails; the accepted part is untouched then.
        """
        with self._lock:
            handle = self._open.pop(token, -1)
        try:
            with in_words(f"write a segment in {self.directory}"):
                if handle < 0:
                    handle = self._opened(token, offset)
                size = os.fstat(handle).st_size
                if size < offset:
                    raise SegmentLostError(
                        f"the segment of lease {token} has {size} bytes, and the ledger accepted {offset}"
                    )
                if size > offset:
                    os.ftruncate(handle, offset)
                self._write(handle, member, offset)
        except BaseException:
            if handle >= 0:
                os.close(handle)
            raise
        self._keep(token, handle)
        return offset + len(member)

    def _opened(self, token: str, offset: int) -> int:
        path = self.path(token)
        flags = os.O_RDWR | os.O_CLOEXEC
        if offset:
            try:
                return os.open(path, flags)
            except FileNotFoundError:
                raise SegmentLostError(
                    f"the segment of lease {token} is missing, and the ledger accepted {offset} bytes of it"
                ) from None
        try:
            handle = os.open(path, flags | os.O_CREAT, 0o666)
        except FileNotFoundError:
            make_directory(self.directory)
            handle = os.open(path, flags | os.O_CREAT, 0o666)
        try:
            sync_directory(self.directory)
        except OSError:
            os.close(handle)
            raise
        return handle

    @staticmethod
    def _write(handle: int, member: bytes, offset: int) -> None:
        try:
            write_all(handle, member, offset)
            os.fdatasync(handle)
        except OSError:
            # The space of a half-written page may be needed for another file of the crawl.
            with contextlib.suppress(OSError):
                os.ftruncate(handle, offset)
            raise

    def _keep(self, token: str, handle: int) -> None:
        with self._lock:
            self._open[token] = handle
            surplus = [self._open.pop(next(iter(self._open)))] if len(self._open) > _MAX_OPEN else []
        for one in surplus:
            os.close(one)

    def close(self, token: str) -> None:
        """Close a segment. An append may open it again."""
        with self._lock:
            handle = self._open.pop(token, -1)
        if handle >= 0:
            os.close(handle)

    def close_all(self) -> None:
        """Close all segments."""
        with self._lock:
            handles, self._open = list(self._open.values()), {}
        for handle in handles:
            os.close(handle)

    @contextlib.contextmanager
    def row(self, segment: Segment) -> Iterator[GzipMembers]:
        """The accepted part of a segment, for reading. Raises SegmentLostError when it is incomplete."""
        try:
            handle = os.open(self.path(segment.token), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SegmentLostError(
                f"the segment of lease {segment.token} is missing, and the ledger accepted {segment.length} bytes of it"
            ) from None
        try:
            size = os.fstat(handle).st_size
            if size < segment.length:
                raise SegmentLostError(
                    f"the segment of lease {segment.token} has {size} bytes, and the ledger accepted {segment.length}"
                )
            yield GzipMembers.of_file(f"the segment of lease {segment.token}", handle, segment.length, SegmentLostError)
        finally:
            os.close(handle)

    def require(self, segment: Segment) -> None:
        """Raises SegmentLostError unless the segment exists with at least its length."""
        with in_words(f"look at a segment in {self.directory}"):
            try:
                size = self.path(segment.token).stat().st_size
            except FileNotFoundError:
                size = 0
        if size < segment.length:
            raise SegmentLostError(
                f"the segment of lease {segment.token} has {size} bytes, and the ledger accepted {segment.length}"
            )

    def discard(self, token: str) -> None:
        """Remove a segment; a missing one is fine."""
        self.close(token)
        with in_words(f"remove a segment in {self.directory}"):
            self.path(token).unlink(missing_ok=True)

    def stored(self) -> Iterator[Segment]:
        """Every existing segment, with its full length."""
        try:
            entries = sorted(os.scandir(self.directory), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in entries:
            token = unescaped(entry.name.removesuffix(_ENDING)) if entry.name.endswith(_ENDING) else None
            with contextlib.suppress(FileNotFoundError):
                if token is not None:
                    yield Segment(token, entry.stat().st_size)

    def path(self, token: str) -> Path:
        """Where the segment of a lease is."""
        return self.directory / f"{escaped(token)}{_ENDING}"
