"""A recording: a gzip file of lines `NAME VALUE UNIXTIME`, which `zcat` reads at any moment.

Rules that it keeps:
  * What is appended is one gzip member, with the position and the counts in its header: all of it or nothing is there.
  * After a kill or a power cut the file is cut to whole members before anything is appended, so to whole lines too.
  * Nothing that was once on the disk is ever cut. Damage there is refused in words, since it is not ours to mend.
  * One process writes a recording: it holds a lock on the file. A file of somebody else's is not touched.
  * What follows from events is on the disk when `append` returns; other lines are within `SYNC_S` seconds.
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
"""Bytes at the end that are looked through at start, at first; four times as many when no member begins there."""
MAX_KNOWN: Final = 1 << 30
"""Bytes of a list of jobs that were counted from the dataset."""


class Recording:
    """A recording that is open for writing. All is called from one thread at a time.

    `end` is its length in bytes, `position` and `counts` those of its last commit, `cut` how many bytes were cut when
    it was opened. Raises UsageError for a file that is not a recording, DatasetError for what the disk refuses.
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
        """Commit lines together with the position and the counts. `durable`: they are on the disk on return.

        Counts that name no list of jobs that were counted from the dataset let go of the one that there is."""
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
                with contextlib.suppress(OSError):  # The next start cuts it, if this cannot be done now.
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
        """See to it that nothing waits for the disk longer than `SYNC_S`."""
        if self._synced < self.end and self._clock() - self._synced_at >= SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Have everything on the disk."""
        with in_words(f"write {self.path}"):
            os.fdatasync(self._handle)
        self._synced, self._synced_at = self.end, self._clock()

    def recount(self, points: Sequence[Point], position: Position, counts: EventCounts, known: CountedJobs) -> None:
        """Commit counts that were made anew from the dataset, and the list of the jobs that are in them, whose name
        `counts.known` is a new one."""
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
        """Have everything on the disk, and let go of the file."""
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
        """Remove the lists that no commit names any more, or that a kill left before theirs."""
        ours = self._known_path(self.counts.known)
        with in_words(f"remove old lists beside {self.path}"):
            for path in self.path.parent.glob(f"{_glob_free(self.path.name)}.known-*"):
                if path != ours:
                    path.unlink(missing_ok=True)


def last_whole(handle: int, size: int, path: Path) -> Header | None:
    """The last member before which all is whole; None when the file has none.

    Raises UsageError for a file that is not a recording, DatasetError for one that is damaged where it was whole.
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
    """The last of the members that follow one another from this one on and are whole; None when it is not itself."""
    last = None
    try:
        while True:
            text_of(handle, header)
            last = header
            header = header_at(handle, last.end)
    except MalformedError:
        return last  # The end of the file, or of what is whole.


def _glob_free(name: str) -> str:
    """A name in which a pattern's characters stand for themselves."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _opened(path: Path) -> int:
    """The file, made durably if it is new, and locked."""
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
