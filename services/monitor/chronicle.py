"""What the monitor must still know after a restart: who led to whom, and the course of the crawl.

One SQLite file. An account's parent and the position in the log go into it in one commit, so that after a kill no
announcement is missed and none counts twice. The course is a picture, kept once a minute: a kill costs a minute of it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from protocol.errors import MalformedError, TmaticError
from services.subscriber.consumer import Position

LONGEST_PATH: Final = 1_000
"""Steps of a path back to a target; a longer one is cut."""

_FORMAT: Final = "1"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lineage (
    user TEXT PRIMARY KEY, parent TEXT NOT NULL, depth INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS children ON lineage (parent);
"""


@dataclass(frozen=True, slots=True)
class Step:
    """An account on the way from a target. `depth` is None when nothing was announced of it."""

    user: str
    depth: int | None


class Chronicle:
    """The file at `path`, or memory alone when it is None. Its methods may be called from several threads.

    Raises TmaticError when the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._name = str(path or "memory")
        try:
            self._base = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.executescript(_SCHEMA)
            format_ = self._kept("format")
            if format_ not in (None, _FORMAT.encode()):
                raise TmaticError(f"{self._name} was written by another version of tmatic-monitor: move it away")
            self._base.execute("INSERT OR REPLACE INTO kept VALUES ('format', ?)", (_FORMAT.encode(),))
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

    def position(self) -> Position | None:
        """How far the log was read."""
        with self._lock:
            kept = self._kept("position")
        return Position.parse(kept.decode()) if kept else None

    def record(self, born: Iterable[tuple[str, str, int]], position: Position) -> None:
        """Keep (account, parent, depth) of accounts that are new, and the position: all or nothing."""
        with self._commit():
            self._base.executemany("INSERT OR IGNORE INTO lineage VALUES (?, ?, ?)", born)
            self._keep("position", str(position).encode())

    def begin_anew(self, position: Position) -> None:
        """The announcements up to there are gone. What is known stays true, unless it is of another ledger."""
        former = self.position()
        with self._commit():
            if former is not None and former.ledger != position.ledger:
                self._base.execute("DELETE FROM lineage")
                self._base.execute("DELETE FROM kept WHERE name = 'course'")
            self._keep("position", str(position).encode())

    def keep_course(self, course: dict[str, Any]) -> None:
        """Keep the course (`Course.kept`)."""
        with self._commit():
            self._keep("course", orjson.dumps(course))

    def course(self) -> dict[str, Any] | None:
        """The course that was kept."""
        with self._lock:
            kept = self._kept("course")
        if kept is None:
            return None
        try:
            value: dict[str, Any] = orjson.loads(kept)
        except orjson.JSONDecodeError as error:
            raise MalformedError(f"the course kept in {self._name} cannot be read: {error}") from error
        return value

    def path(self, user: str) -> list[Step]:
        """The way to an account, from the target on; the account alone when nothing is known of it."""
        steps: list[Step] = []
        met = {user}
        with self._lock:
            while len(steps) < LONGEST_PATH:
                row = self._base.execute("SELECT parent, depth FROM lineage WHERE user = ?", (user,)).fetchone()
                steps.append(Step(user, row[1] if row else None))
                if row is None or not row[0] or row[0] in met:
                    break
                user = row[0]
                met.add(user)
        return steps[::-1]

    def led_to(self, user: str, most: int) -> tuple[list[str], int]:
        """Accounts that were found through this one, at most so many, and how many there are."""
        with self._lock:
            rows = self._base.execute("SELECT user FROM lineage WHERE parent = ? LIMIT ?", (user, most)).fetchall()
            (count,) = self._base.execute("SELECT count(*) FROM lineage WHERE parent = ?", (user,)).fetchone()
        return [row[0] for row in rows], int(count)

    # ---------------------------------------------------------------------------------------------------------- inside

    def _kept(self, name: str) -> bytes | None:
        row = self._base.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def _keep(self, name: str, value: bytes) -> None:
        self._base.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    def _commit(self) -> _Commit:
        return _Commit(self._lock, self._base, self._refused)

    def _refused(self, error: sqlite3.Error) -> TmaticError:
        return TmaticError(f"{self._name} cannot be used as the monitor's file: {error}")


class _Commit:
    """A transaction under the lock: committed at its end, rolled back when anything is raised."""

    def __init__(self, lock: threading.Lock, base: sqlite3.Connection, refused: Any) -> None:
        self._lock, self._base, self._refused = lock, base, refused

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            self._base.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._lock.release()
            raise self._refused(error) from error

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: object) -> None:
        try:
            self._base.execute("ROLLBACK" if kind else "COMMIT")
        except sqlite3.Error as error:
            raise self._refused(error) from error
        finally:
            self._lock.release()
        if isinstance(raised, sqlite3.Error):
            raise self._refused(raised) from raised
