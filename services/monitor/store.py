"""The state that the monitor keeps over a restart: the parents of accounts, and the course of the crawl.

One SQLite file. An account's parent and the position in the log are stored in one commit, so that after a kill no
announcement is missed and none counts twice. The course is a copy, stored once a minute: a kill loses a minute of it.

A file with other contents is never written to, and a second process is refused, by a lock on `FILE.lock`. The contents
of the file are not trusted: an invalid value is reported in a sentence, and an invalid course is dropped.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from protocol.errors import MalformedError, UsageError
from protocol.logs import fields
from services.subscriber.consumer import Position
from storage.locks import locked
from storage.sqlite import SqliteFile

log = logging.getLogger(__name__)

MAX_PATH_STEPS: Final = 1_000
"""Steps of a path back to a target; a longer one is truncated."""

APPLICATION_ID: Final = 0x746D6D6F
"""`tmmo`, in the header of the file. Files of earlier versions have none."""

_MAX_COURSE_BYTES: Final = 16 << 20
_MAX_POSITION_LENGTH: Final = 1_000
_FORMAT: Final = "1"
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS lineage ("
    "user TEXT PRIMARY KEY, parent TEXT NOT NULL, depth INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS children ON lineage (parent)",
    f"INSERT OR REPLACE INTO kept VALUES ('format', CAST('{_FORMAT}' AS BLOB))",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
_COLUMNS: Final = {
    "kept": [("name", "TEXT"), ("value", "BLOB")],
    "lineage": [("user", "TEXT"), ("parent", "TEXT"), ("depth", "INTEGER")],
}
_OBJECTS: Final = {("table", "kept", "kept"), ("table", "lineage", "lineage"), ("index", "children", "lineage")}
"""Kind, name and table of each object of the schema."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """An account on the path from a target. `depth` is None when nothing was announced about it."""

    user: str
    depth: int | None


class MonitorStore:
    """The file at `path`, or memory only when it is None. Its methods may be called from several threads.

    Raises UsageError when the file is another program's or in use; it and its methods raise DatasetError on failure.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._file = SqliteFile(path, "the monitor's file", "the course and the paths to accounts begin anew")
        self._held = None if path is None else _locked(path)
        try:
            self._base = self._file.opened(_SCHEMA, lambda base: _check_ours(path, base), synchronous="NORMAL")
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def position(self) -> Position | None:
        """The position up to which the log was read."""
        kept = self._kept("position")
        if kept is None:
            return None
        try:
            found = Position.parse(kept[: _MAX_POSITION_LENGTH + 1].decode())
        except (UnicodeDecodeError, MalformedError) as error:
            raise self._malformed() from error
        if len(kept) > _MAX_POSITION_LENGTH:
            raise self._malformed()
        return found

    def record(self, born: Iterable[tuple[str, str, int]], position: Position) -> None:
        """Store (account, parent, depth) of new accounts, and the position: all or nothing."""
        with self._commit():
            self._base.executemany("INSERT OR IGNORE INTO lineage VALUES (?, ?, ?)", born)
            self._keep("position", str(position).encode())

    def begin_anew(self, position: Position) -> None:
        """The events up to there are unavailable. The stored data stays valid, unless it is of another ledger."""
        former = self.position()
        with self._commit():
            if former is not None and former.ledger != position.ledger:
                self._base.execute("DELETE FROM lineage")
                self._base.execute("DELETE FROM kept WHERE name = 'course'")
            self._keep("position", str(position).encode())

    def keep_course(self, course: dict[str, Any]) -> None:
        """Store the course (`Course.kept`)."""
        with self._commit():
            self._keep("course", orjson.dumps(course))

    def course(self) -> Any:
        """The stored course, None when there is none, or it is not JSON. `Course.recall` validates it."""
        kept = self._kept("course")
        if kept is None:
            return None
        try:
            return orjson.loads(kept if len(kept) <= _MAX_COURSE_BYTES else b"")
        except orjson.JSONDecodeError as error:
            log.warning("the course that was kept cannot be read; it begins anew", extra=fields(why=error))
            return None

    def path(self, user: str) -> list[PathStep]:
        """The path to an account, from the target on; the account alone when nothing is known about it."""
        steps: list[PathStep] = []
        met = {user}
        with self._reading():
            while len(steps) < MAX_PATH_STEPS:
                row = self._base.execute("SELECT parent, depth FROM lineage WHERE user = ?", (user,)).fetchone()
                parent, depth = row or ("", None)
                steps.append(PathStep(user, depth if isinstance(depth, int) else None))
                if not isinstance(parent, str) or not parent or parent in met:
                    break
                user = parent
                met.add(user)
        return steps[::-1]

    def led_to(self, user: str, most: int) -> tuple[list[str], int]:
        """Accounts that were found through this one, at most so many, and their total number."""
        with self._reading():
            rows = self._base.execute("SELECT user FROM lineage WHERE parent = ? LIMIT ?", (user, most)).fetchall()
            (count,) = self._base.execute("SELECT count(*) FROM lineage WHERE parent = ?", (user,)).fetchone()
        return [row[0] for row in rows if isinstance(row[0], str)], int(count)

    # ---------------------------------------------------------------------------------------------------------- inside

    def _kept(self, name: str) -> bytes | None:
        with self._reading():
            row = self._base.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        if not isinstance(row[0], bytes):
            raise self._malformed()
        return row[0]

    def _keep(self, name: str, value: bytes) -> None:
        self._base.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    @contextlib.contextmanager
    def _commit(self) -> Iterator[None]:
        with self._lock, self._file.transaction(self._base):
            yield

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, self._file.in_words():
            yield

    def _malformed(self) -> MalformedError:
        return MalformedError(
            f"{self._file.path or 'memory'} holds what tmatic-monitor never wrote there: move it away"
        )


def _locked(path: Path) -> BinaryIO:
    """The open lock file. Raises UsageError when another process has locked it."""
    held = locked(Path(f"{path}.lock"), "the monitor's file")
    if held is None:
        raise UsageError(f"{path} is in use by another tmatic-monitor: end that one, or name another file")
    return held


def _check_ours(path: Path | None, base: sqlite3.Connection) -> bool:
    """Raises UsageError, before anything is written, when the file has contents that no tmatic-monitor made. Returns
    False: the parts of the schema that files of earlier versions lack are to be created."""
    application, version = (base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    there = set(
        base.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    )
    tables = {name for kind, name, _ in there if kind == "table"}
    if application not in (0, APPLICATION_ID) or version or not there <= _OBJECTS or not _has_our_columns(base, tables):
        raise UsageError(f"{path} is not a file that tmatic-monitor made: name another one")
    row = base.execute("SELECT value FROM kept WHERE name = 'format'").fetchone() if "kept" in tables else None
    if row is not None and row[0] != _FORMAT.encode():
        raise UsageError(f"{path} was written by another version of tmatic-monitor: move it away")
    return False


def _has_our_columns(base: sqlite3.Connection, tables: Iterable[str]) -> bool:
    return all([row[1:3] for row in base.execute(f"PRAGMA table_info({name})")] == _COLUMNS[name] for name in tables)
