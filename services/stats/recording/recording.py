"""A recording: a gzip file of lines `NAME VALUE UNIXTIME`, which `zcat` can read at any time.

Rules:
  * Each append is one gzip member, with the position and the counts in its header: it is atomic.
  * After a kill or a power cut the file is truncated to whole members before anything is appended, so to whole lines.
  * Data that was synced is never truncated. Damage there is refused with a message, since we cannot repair it.
  * One process writes a recording: it holds a lock on the file. A file of another program is not changed.
  * Lines of events are on disk when `append` returns; other lines are within `SYNC_S` seconds.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from protocol.errors import DatasetError, MalformedError, UsageError
from services.stats.counts import CountedJobs, EventCounts
from services.stats.recording.gzip_members import MAX_HEAD, Header, encode, header_at, looks_begun, next_header, text_of
from services.stats.recording.points import Point
from services.subscriber.consumer import Position
from storage.durable import in_words, make_directory, sync_directory, write_all, write_new
from storage.locks import take

SYNC_S: Final = 5.0
TAIL: Final = 1 << 20
"""Bytes at the end that are searched first at start; four times as many when no member begins there."""
MAX_KNOWN: Final = 1 << 30
"""Bytes of a list of jobs counted from the dataset."""


class Recording:
    """A recording that is open for writing. Its methods are called from one thread at a time.

    `end` is its length in bytes, `position` and `counts` those of its last commit, `cut` the number of bytes truncated
    when it was opened. Raises UsageError for a file that is not a recording, DatasetError on disk errors.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._handle = _opened(path)
        try:
            with in_words(f"open {path}"):
                size = os.fstat(self._handle).st_size
                last = last_whole(self._handle, size, path)
                self.end = last.end if last else 0
                self.cut = size - self.end
                if self.cut:
                    os.ftruncate(self._handle, self.end)
                    os.fsync(self._handle)
            self.position = Position.parse(last.position) if last and last.position else None
            self.counts = EventCounts.unpacked(last.counts if last else ())
            self.last = last.last if last else 0
            self.known = self._read_known()
        except BaseException:
            os.close(self._handle)
            raise
        self._synced, self._synced_at = self.end, clock()

    def append(self, points: Sequence[Point], position: Position | None, counts: EventCounts, *, durable: bool) -> None:
        """Commit lines together with the position and the counts. `durable`: they are on disk on return.

        If the counts name no list of jobs counted from the dataset, the existing one is deleted."""
        lines = [point.line() for point in points]
        times = [point.at for point in points]
        said = str(position) if position is not None else ""
        member = encode(self.end, lines, times, self._synced, said, counts.packed())
        with in_words(f"write {self.path}"):
            try:
                write_all(self._handle, member, self.end)
                if durable:
                    os.fdatasync(self._handle)
            except OSError:
                with contextlib.suppress(OSError):  # If this fails, the next start truncates it.
                    os.ftruncate(self._handle, self.end)
                raise
        self.end += len(member)
        self.position, self.counts = position, counts
        if not counts.known and len(self.known):
            self.known = CountedJobs()
            self._forget_known()
        if durable:
            self._synced, self._synced_at = self.end, self._clock()
        else:
            self.sync_when_due()

    def sync_when_due(self) -> None:
        """Sync if data has waited for `SYNC_S`."""
        if self._synced < self.end and self._clock() - self._synced_at >= SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Sync everything to disk."""
        with in_words(f"write {self.path}"):
            os.fdatasync(self._handle)
        self._synced, self._synced_at = self.end, self._clock()

    def recount(self, points: Sequence[Point], position: Position, counts: EventCounts, known: CountedJobs) -> None:
        """Commit counts that were recomputed from the dataset, and the list of the jobs in them, whose name
        `counts.known` is new."""
        path = self._known_path(counts.known)
        with in_words(f"write {path}"):
            write_new(path, known.packed())
            sync_directory(path.parent)
        self.append(points, position, counts, durable=True)
        self.known = known
        self._forget_known()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Sync everything to disk, and close the file."""
        try:
            self.sync()
        finally:
            os.close(self._handle)

    def _known_path(self, name: int) -> Path:
        return self.path.with_name(f"{self.path.name}.known-{name:012x}")

    def _read_known(self) -> CountedJobs:
        """The list that the last commit names."""
        self._forget_known()
        if not self.counts.known:
            return CountedJobs()
        path = self._known_path(self.counts.known)
        with in_words(f"read {path}, without which results would be counted twice"), path.open("rb") as file:
            data = file.read(MAX_KNOWN + 1)
        if len(data) > MAX_KNOWN:
            raise DatasetError(f"{path} has more than {MAX_KNOWN:,} bytes, and is not of tmatic-stats")
        return CountedJobs.unpacked(data)

    def _forget_known(self) -> None:
        """Remove the lists that the last commit does not name, also those left by a kill before their commit."""
        ours = self._known_path(self.counts.known)
        with in_words(f"remove old lists beside {self.path}"):
            for path in self.path.parent.glob(f"{_glob_free(self.path.name)}.known-*"):
                if path != ours:
                    path.unlink(missing_ok=True)


def last_whole(handle: int, size: int, path: Path) -> Header | None:
    """The last member before which everything is whole; None when the file has none.

    Raises UsageError for a file that is not a recording, DatasetError for one with damage in synced data.
    """
    if size and not looks_begun(os.pread(handle, MAX_HEAD, 0)):
        raise UsageError(f"{path} is not a recording of tmatic-stats: name another file, or move it away")
    window = TAIL
    while True:
        start = max(0, size - window)
        header = next_header(handle, start)
        last = _end_of_row(handle, header) if header is not None and (start or not header.offset) else None
        if last is not None or not start:
            break
        window *= 4
    end = last.end if last else 0
    behind = next_header(handle, end + 1)
    while behind is not None:
        if behind.synced > end:
            raise DatasetError(
                f"{path} is damaged at byte {end:,}, where it was whole before; move it away, and a new one is begun"
            )
        behind = next_header(handle, behind.offset + 1)
    return last


def _end_of_row(handle: int, header: Header) -> Header | None:
    """The last of the consecutive whole members from this one on; None when this one is not whole."""
    last = None
    try:
        while True:
            text_of(handle, header)
            last = header
            header = header_at(handle, last.end)
    except MalformedError:
        return last  # The end of the file, or of the whole members.


def _glob_free(name: str) -> str:
    """A name with the special characters of a pattern escaped."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _opened(path: Path) -> int:
    """The file, created durably if it is new, and locked."""
    with in_words(f"open {path}"):
        make_directory(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not take(handle):
                raise UsageError(f"{path} is being written by another tmatic-stats: name another file")
            sync_directory(path.parent)
        except BaseException:
            os.close(handle)
            raise
    return handle
