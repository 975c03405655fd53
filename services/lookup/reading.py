"""Queries of the lookup's database. Every thread has its own read-only connection, which sees whole commits."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.lookup.store import database
from services.subscriber.consumer import Position

MAX_HOLDERS: Final = 1_000
"""Lines of a history that are returned; a name or an account with more does not belong to people."""

_RECOUNT_S: Final = 2.0

_BEST: Final = " ORDER BY owner > 0, posted DESC, posts DESC, body DESC LIMIT 1"
"""Settled and added profiles come before those of an analysis under way; then the order of profiles."""


@dataclass(frozen=True, slots=True)
class Held:
    """That an account had a name. `first` and `last` are sequences of the crawl's log, `first_at` and `last_at` Unix
    seconds; each is None when it is not known."""

    id: str
    screen_name: str
    current: bool
    first: int | None
    last: int | None
    first_at: int | None
    last_at: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The totals: accounts, how many of them had several names, profiles added by hand, analyses under way, bytes on
    disk, and the position."""

    accounts: int
    renamed: int
    added: int
    analyses: int
    bytes: int
    position: Position | None


class LookupReader:
    """Queries the file at `path`, which a `Store` must have created. May be used from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        self._counting = threading.Lock()
        self._counted: tuple[float, Overview] | None = None

    def by_id(self, identifier: str) -> bytes | None:
        """The valid profile, as received, or None."""
        row = self._connection.execute("SELECT body FROM profile WHERE id = ?" + _BEST, (identifier,)).fetchone()
        return None if row is None else bytes(row[0])

    def by_ids(self, identifiers: Sequence[str]) -> dict[str, bytes | None]:
        """The valid profile of each id, or None; all from one snapshot."""
        self._connection.execute("BEGIN")
        try:
            return {identifier: self.by_id(identifier) for identifier in identifiers}
        finally:
            self._connection.execute("COMMIT")

    def by_name(self, name: str) -> bytes | None:
        """The profile of the name's current holder. Of several accounts that were seen with it, it is the one that
        posted last, and of those the one with the largest id, which is the youngest account."""
        best: tuple[tuple[int, int, str], bytes] | None = None
        rows = self._connection.execute(
            "SELECT DISTINCT id FROM profile WHERE name = ? LIMIT ?", (name, MAX_HOLDERS)
        ).fetchall()
        for (identifier,) in rows:
            row = self._connection.execute(
                "SELECT name = ?, posted, body FROM profile WHERE id = ?" + _BEST, (name, identifier)
            ).fetchone()
            if row is None or not row[0]:
                continue
            rank = (row[1], len(identifier), identifier)
            if best is None or rank > best[0]:
                best = rank, bytes(row[2])
        return None if best is None else best[1]

    def holders(self, name: str) -> list[Held]:
        """The accounts that had a name, first seen first."""
        return list(self._held("name = ? ORDER BY first IS NULL, first, first_at, id", name))

    def names(self, identifier: str) -> list[Held]:
        """The names that an account had, first seen first."""
        return list(self._held("id = ? ORDER BY first IS NULL, first, first_at, name", identifier))

    def overview(self) -> Overview:
        """The totals, a moment old: counting millions takes time, so one count is shared by all callers."""
        counted = self._counted
        if counted is not None and (time.monotonic() < counted[0] or self._counting.locked()):
            return counted[1]
        with self._counting:
            began = time.monotonic()
            if self._counted is not None and began < self._counted[0]:
                return self._counted[1]
            overview = self._count()
            took = time.monotonic() - began
            self._counted = began + took + max(_RECOUNT_S, 20 * took), overview
            return overview

    def _count(self) -> Overview:
        def one(question: str) -> int:
            return int(self._connection.execute(question).fetchone()[0])

        row = self._connection.execute("SELECT position FROM place").fetchone()
        return Overview(
            accounts=one("SELECT count(DISTINCT id) FROM profile"),
            renamed=one("SELECT count(*) FROM (SELECT 1 FROM held GROUP BY id HAVING count(*) > 1)"),
            added=one("SELECT count(*) FROM profile INDEXED BY profile_added WHERE owner < 0"),
            analyses=one("SELECT count(*) FROM analysis"),
            bytes=sum(os.stat(f).st_size for f in (self._path, Path(f"{self._path}-wal")) if f.exists()),
            position=None if row is None else Position.parse(row[0]),
        )

    def _held(self, where: str, value: str) -> Iterator[Held]:
        question = f"SELECT id, name, first, last, first_at, last_at FROM held WHERE {where} LIMIT {MAX_HOLDERS}"
        for identifier, name, first, last, first_at, last_at in self._connection.execute(question, (value,)):
            now = self._connection.execute(
                "SELECT name = ? FROM profile WHERE id = ?" + _BEST, (name, identifier)
            ).fetchone()
            yield Held(identifier, name, bool(now and now[0]), first, last, first_at, last_at)

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            # It ends with its thread, where Python closes it.
            connection = self._own.connection = database(self._path).opened_to_read()
        return connection
