"""The lookup's database: one SQLite file, one writer; the contents of an event are stored together with the position.

A profile is stored by (id, owner), owner being

  * SETTLED (0): from completed analyses, the largest in the order of `services.lookup.profiles`;
  * ADDED (-1): from a POST to `/lookup/add`, the last one received. It is in no dataset, so nothing removes it;
  * a number above 0: from a page of an analysis under way, whose account `analysis` names. It is shown when the account
    has no other profile, and settled when the analysis is done; if that dies, it is deleted, since it is in no file.

`held` is the history of names: which account had which, at which sequences of the crawl's log it was first and last
seen, and at which times, as far as the profiles have them (when the account last posted under it). Its past only
changes with another ledger, whose sequences are different.

Rules: every change is one transaction, durable when it returns (WAL, synchronous=FULL); a second process is refused, by
a lock on `FILE.lock`; readers and the writer never wait for each other.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from protocol.errors import TmaticError, UsageError
from services.lookup.profiles import KnownProfile
from services.subscriber.consumer import Position
from storage.durable import in_words, make_directory
from storage.locks import locked
from storage.sqlite import SqliteFile

SETTLED: Final = 0
ADDED: Final = -1

APPLICATION_ID: Final = 0x746D6C6B
"""`tmlk`, in the header of the file."""

VERSION: Final = 1
_AT_ONCE: Final = 500

_SCHEMA: Final = (
    "CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), position TEXT NOT NULL)",
    "CREATE TABLE profile (id TEXT NOT NULL, owner INTEGER NOT NULL, name TEXT COLLATE NOCASE,"
    " posted INTEGER NOT NULL, posts INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (id, owner))",
    "CREATE INDEX profile_by_name ON profile (name, id) WHERE name IS NOT NULL",
    "CREATE INDEX profile_under_way ON profile (owner) WHERE owner > 0",
    "CREATE INDEX profile_added ON profile (id) WHERE owner < 0",
    "CREATE TABLE analysis (owner INTEGER PRIMARY KEY, user TEXT NOT NULL UNIQUE, received INTEGER NOT NULL,"
    " whole INTEGER NOT NULL)",
    "CREATE TABLE held (name TEXT NOT NULL COLLATE NOCASE, id TEXT NOT NULL, first INTEGER, last INTEGER,"
    " first_at INTEGER, last_at INTEGER, PRIMARY KEY (name, id)) WITHOUT ROWID",
    "CREATE INDEX held_by_id ON held (id)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
_PRAGMAS: Final = ("journal_size_limit = 67108864", "cache_size = -32768")

_LARGER: Final = (
    " ON CONFLICT (id, owner) DO UPDATE SET name = excluded.name, posted = excluded.posted, posts = excluded.posts,"
    " body = excluded.body"
    " WHERE (excluded.posted, excluded.posts, excluded.body) > (profile.posted, profile.posts, profile.body)"
)
_PUT: Final = "INSERT INTO profile (id, owner, name, posted, posts, body) VALUES (?, ?, ?, ?, ?, ?)"
_NOTE: Final = "INSERT INTO held (name, id, first, last, first_at, last_at)"
_SEEN: Final = (
    " ON CONFLICT (name, id) DO UPDATE SET"
    " name = CASE WHEN excluded.name COLLATE BINARY > held.name COLLATE BINARY THEN excluded.name ELSE held.name END,"
    " first = min(coalesce(held.first, excluded.first), coalesce(excluded.first, held.first)),"
    " last = max(coalesce(held.last, excluded.last), coalesce(excluded.last, held.last)),"
    " first_at = min(coalesce(held.first_at, excluded.first_at), coalesce(excluded.first_at, held.first_at)),"
    " last_at = max(coalesce(held.last_at, excluded.last_at), coalesce(excluded.last_at, held.last_at))"
)


class BusyError(TmaticError):
    """The writer is busy with a long operation, such as a rebuild; it will be free later."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """An analysis under way. `received` is the number of its records so far; `whole` whether all of them arrived with
    their events, so that no file needs to be read when it is done."""

    owner: int
    received: int
    whole: bool


class Writing:
    """One open transaction. Ends with `Store.writing`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._do = connection.execute
        self._do_many = connection.executemany

    def analysis(self, user: str) -> Analysis | None:
        """The analysis under way of an account's followers, if any."""
        row = self._do("SELECT owner, received, whole FROM analysis WHERE user = ?", (user,)).fetchone()
        return None if row is None else Analysis(row[0], row[1], bool(row[2]))

    def keep_analysis(self, user: str, received: int, whole: bool) -> int:
        """Record the progress of an analysis. Returns the owner number of its pages."""
        self._do(
            "INSERT INTO analysis (user, received, whole) VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE SET"
            " received = excluded.received, whole = excluded.whole",
            (user, received, whole),
        )
        return int(self._do("SELECT owner FROM analysis WHERE user = ?", (user,)).fetchone()[0])

    def pend(self, owner: int, profiles: Iterable[KnownProfile]) -> None:
        """Store profiles of an analysis under way. As in the dataset, the first of an account is kept."""
        rows = ((p.id, owner, p.name, p.posted, p.posts, p.body) for p in profiles)
        self._do_many(_PUT + " ON CONFLICT (id, owner) DO NOTHING", rows)

    def drop_pages(self, owner: int) -> None:
        """Delete the profiles of an analysis under way."""
        self._do("DELETE FROM profile WHERE owner = ? AND owner > 0", (owner,))

    def settle_pages(self, owner: int, sequence: int) -> None:
        """Settle the profiles of an analysis that is complete."""
        self._do(
            _NOTE + " SELECT name, id, ?1, ?1, nullif(posted, 0), nullif(posted, 0) FROM profile"
            " WHERE owner = ?2 AND owner > 0 AND name IS NOT NULL" + _SEEN,
            (sequence, owner),
        )
        # Profiles of unknown accounts, usually all of them, only change their owner.
        self._do("UPDATE OR IGNORE profile SET owner = 0 WHERE owner = ? AND owner > 0", (owner,))
        self._do(
            "INSERT INTO profile (id, owner, name, posted, posts, body) SELECT id, 0, name, posted, posts, body"
            " FROM profile WHERE owner = ? AND owner > 0" + _LARGER,
            (owner,),
        )
        self.drop_pages(owner)

    def settle(self, profiles: Iterable[KnownProfile], sequence: int) -> None:
        """Store profiles of a completed analysis, each account once."""
        source = iter(profiles)
        while some := list(islice(source, _AT_ONCE)):
            self._do_many(_PUT + _LARGER, [(p.id, SETTLED, p.name, p.posted, p.posts, p.body) for p in some])
            self._note(some, sequence)

    def add(self, profile: KnownProfile) -> None:
        """Store a profile that was added by hand; it replaces an earlier added one of the account."""
        row = (profile.id, ADDED, profile.name, profile.posted, profile.posts, profile.body)
        self._do(_PUT.replace("INSERT", "INSERT OR REPLACE", 1), row)
        self._note([profile], None)

    def end_analysis(self, user: str) -> None:
        """Delete an analysis that has ended, with its unsettled profiles."""
        if analysis := self.analysis(user):
            self.drop_pages(analysis.owner)
            self._do("DELETE FROM analysis WHERE user = ?", (user,))

    def empty(self, *, same_log: bool) -> None:
        """Delete everything that the dataset has. Sequences of another log are meaningless."""
        self._do("DELETE FROM profile WHERE owner >= 0")
        self._do("DELETE FROM analysis")
        if not same_log:
            self._do("UPDATE held SET first = NULL, last = NULL")

    def place(self, position: Position) -> None:
        """Store the position up to which everything is applied."""
        self._do("INSERT OR REPLACE INTO place (one, position) VALUES (1, ?)", (str(position),))

    def _note(self, profiles: Iterable[KnownProfile], sequence: int | None) -> None:
        rows = ((p.name, p.id, sequence, sequence, p.posted or None, p.posted or None) for p in profiles if p.name)
        self._do_many(
            "INSERT INTO held (name, id, first, last, first_at, last_at) VALUES (?, ?, ?, ?, ?, ?)" + _SEEN, rows
        )


class Store:
    """The file, open for writing by this process alone. Several threads may write, one at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises UsageError when another process has it, TmaticError when it cannot be used."""
        self.path = path
        with in_words(f"open {path}"):
            make_directory(path.absolute().parent)
        lock = locked(Path(f"{path}.lock"), "the lookup's database")
        if lock is None:
            raise UsageError(f"{path} is in use by another tmatic-lookup: end that one, or name another file")
        self._lock = lock
        self._turn = threading.Lock()
        self._file = database(path)
        try:
            self._connection = self._file.opened(_SCHEMA, lambda base: _is_ours(path, base), pragmas=_PRAGMAS)
        except TmaticError:
            lock.close()
            raise

    def close(self) -> None:
        """Close the file. Everything written is durable already."""
        with self._turn, self._file.in_words():
            self._connection.close()
        self._lock.close()

    def position(self) -> Position | None:
        """The position stored with the data."""
        with self._turn, self._file.in_words():
            row = self._connection.execute("SELECT position FROM place").fetchone()
        return None if row is None else Position.parse(row[0])

    @contextlib.contextmanager
    def writing(self, within_s: float = -1) -> Iterator[Writing]:
        """A transaction: all changes made inside are durable afterwards, or none if an exception is raised.

        Raises BusyError when the writer is not free in time (never by default), TmaticError when the disk refuses.
        """
        if not self._turn.acquire(timeout=within_s):
            raise BusyError("the database is being made anew; try again in a minute")
        try:
            with self._file.transaction(self._connection):
                yield Writing(self._connection)
        finally:
            self._turn.release()


def database(path: Path) -> SqliteFile:
    """The lookup's database, which is not open yet."""
    return SqliteFile(path, "the lookup's database", "all but what was added by hand is made anew from the dataset")


def _is_ours(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether it is a database of this program; False for an empty file. Raises UsageError when it is another's."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID and version == VERSION:
        return True
    if application or version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise UsageError(
            f"{path} is not a database that this tmatic-lookup made: name another file, or move it away; all but what "
            "was added by hand is made anew from the dataset"
        )
    return False
