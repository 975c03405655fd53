"""Which parts of a recording were sent to which carbon: a small journal beside it, `FILE.gz.sent`, in SQLite.

Two processes may write it: one that records and sends live, and one that replays the recording. A recording is
identified by its first line, so that another one with the same name is distinguished. Times are unix times of the
recording, `ends` is the first second that was not sent.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.stats.recording.points import Oddities, points_of
from storage.sqlite import SqliteFile

LOCKED_S: Final = 10.0

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS sent ("
    "id INTEGER PRIMARY KEY, recording TEXT, carbon TEXT, begins INTEGER, ends INTEGER, at INTEGER)",
    "CREATE TABLE IF NOT EXISTS live (recording TEXT, carbon TEXT, place INTEGER, PRIMARY KEY (recording, carbon))",
)


@dataclass(frozen=True, slots=True)
class Range:
    """A range that was sent, and when."""

    begins: int
    ends: int
    at: int


def identity(path: Path) -> str:
    """The identity of a recording; empty while it has no line."""
    first = next(points_of(path, Oddities()), None)
    return hashlib.sha256(first.line()).hexdigest() if first is not None else ""


class Sent:
    """The journal of one recording and one carbon. Raises DatasetError when it cannot be read or written."""

    def __init__(self, path: Path, carbon: str) -> None:
        self._recording, self._carbon = path, carbon
        self.path = path.with_name(path.name + ".sent")
        self._known = ""
        self._file = SqliteFile(self.path, "the journal of what was sent", "what was sent may then be sent again")
        # One thread opens it and another one uses it, never both at the same time.
        self._base = self._file.opened(_SCHEMA, _is_made, wal=False, busy_s=LOCKED_S)

    def overlapping(self, begins: int, ends: int) -> list[Range]:
        """The parts of that range that were sent, oldest first."""
        with self._file.in_words():
            rows = self._base.execute(
                "SELECT begins, ends, at FROM sent WHERE recording = ? AND carbon = ? AND begins < ? AND ends > ? "
                "ORDER BY begins",
                (self._identity(), self._carbon, ends, begins),
            )
            return [Range(*row) for row in rows]

    def begin(self, begins: int, at: int) -> int:
        """Add a range that is about to be sent; returns its number."""
        with self._file.in_words():
            cursor = self._base.execute(
                "INSERT INTO sent (recording, carbon, begins, ends, at) VALUES (?, ?, ?, ?, ?)",
                (self._identity(), self._carbon, begins, begins, at),
            )
            return int(cursor.lastrowid or 0)

    def reach(self, number: int, ends: int) -> None:
        """Record how far the range was sent."""
        with self._file.in_words():
            self._base.execute("UPDATE sent SET ends = max(ends, ?) WHERE id = ?", (ends, number))

    def place(self) -> int | None:
        """The place from which the live delivery resumes; None when there was none."""
        with self._file.in_words():
            # A recording that was empty when the delivery started had no identity then.
            row = self._base.execute(
                "SELECT place FROM live WHERE recording IN (?, '') AND carbon = ? ORDER BY recording DESC",
                (self._identity(), self._carbon),
            ).fetchone()
            return int(row[0]) if row else None

    def keep_place(self, place: int) -> None:
        """Record how far the live delivery has settled."""
        with self._file.in_words():
            self._base.execute("INSERT OR REPLACE INTO live VALUES (?, ?, ?)", (self._identity(), self._carbon, place))

    def close(self) -> None:
        """Close the journal."""
        with self._file.in_words():
            self._base.close()

    def _identity(self) -> str:
        self._known = self._known or identity(self._recording)
        return self._known


def _is_made(base: sqlite3.Connection) -> bool:
    """Whether all tables exist."""
    names = base.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('sent', 'live')")
    return bool(names.fetchone()[0] == len(_SCHEMA))
