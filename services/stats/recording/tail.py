"""The feed of a live delivery: a recording that is being written, member by member."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from protocol.errors import DatasetError, MalformedError
from services.stats.carbon.delivery import Batch
from services.stats.recording.gzip_members import header_at, text_of
from services.stats.recording.points import point
from storage.durable import in_words


class RecordingTail:
    """Places are offsets of members. The writer sets `end`, the length of the recording, and `closed` at the end."""

    def __init__(self, path: Path, end: int) -> None:
        self._path = path
        with in_words(f"open {path}"):
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.end = end
        self.closed = False
        self._times: deque[tuple[int, int, int]] = deque()

    def read(self, place: int) -> Batch | None:
        """The points of the member that begins at a place."""
        if place >= self.end:
            return None
        try:
            with in_words(f"read {self._path}"):
                header = header_at(self._handle, place)
                found = [point(line) for line in text_of(self._handle, header).splitlines()]
        except MalformedError as error:
            raise DatasetError(f"{self._path} is damaged at byte {place:,}: {error}") from error
        if header.lines:
            self._times.append((header.end, header.first, header.last))
        return Batch([one for one in found if one is not None], header.end)

    def ended(self, place: int) -> bool:
        """Whether the writer has closed the recording, and everything was read."""
        return self.closed and place >= self.end

    def span(self, place: int) -> tuple[int, int] | None:
        """The first and last time of the points read before a place since the last call; None without points."""
        first, last = 1 << 62, 0
        while self._times and self._times[0][0] <= place:
            _, begins, ends = self._times.popleft()
            first, last = min(first, begins), max(last, ends)
        return (first, last) if last else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
