"""The one way to open a SQLite file, and the error messages: what is wrong with it and what to do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from protocol.errors import DatasetError

BUSY_S: Final = 5.0
"""How long a statement waits for another process that has the file locked."""

_WORDS: Final = {
    "BUSY": "another process keeps it locked; end that one, or try again",
    "LOCKED": "another process keeps it locked; end that one, or try again",
    "READONLY": "it cannot be written; see whom the file and its directory belong to",
    "PERM": "permission is denied; see whom the file and its directory belong to",
    "CANTOPEN": "it cannot be opened; see that its directory is there, and whom both belong to",
    "FULL": "the disk is full; make room, and try again",
    "IOERR": "the disk reports an input/output error; see the system's log",
}
"""By SQLite's name of the error. The messages for `CORRUPT` and `NOTADB` add what the file's owner loses."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database at `path`, or in memory where that is None.

    `whose` names it in messages ("the monitor's file"); `loss` says what is lost by moving it away, when it is
    damaged. All methods raise DatasetError when SQLite fails.
    """

    path: Path | None
    whose: str
    loss: str

    def opened(
        self,
        schema: Sequence[str],
        is_made: Callable[[sqlite3.Connection], bool],
        *,
        synchronous: str = "FULL",
        wal: bool = True,
        pragmas: Sequence[str] = (),
        busy_s: float = BUSY_S,
    ) -> sqlite3.Connection:
        """The file, open for writing by any thread, one at a time; statements outside `transaction` commit themselves.

        `is_made` returns whether the schema exists; nothing is written before it returns, and it may raise an error of
        its own to refuse the file. `synchronous` FULL: a commit is on the disk when it returns; NORMAL: a power cut
        never tears the file, but may undo the last commits.
        """
        with self.in_words():
            connection = sqlite3.connect(
                self.path or ":memory:", timeout=busy_s, isolation_level=None, check_same_thread=False
            )
            try:
                made = is_made(connection)
                journal = ("journal_mode = WAL",) if wal else ()
                for pragma in (*journal, f"synchronous = {synchronous}", *pragmas):
                    connection.execute(f"PRAGMA {pragma}")
                if not made:
                    with self.transaction(connection):
                        for statement in schema:
                            connection.execute(statement)
            except BaseException:
                connection.close()
                raise
        return connection

    def opened_to_read(self) -> sqlite3.Connection:
        """The file, which must exist, open for reading by this thread."""
        assert self.path is not None
        with self.in_words():
            address = f"file:{quote(str(self.path.absolute()))}?mode=ro"
            connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_S)
            connection.execute("PRAGMA query_only = ON")
        return connection

    @contextlib.contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """The statements inside are committed at the end, all of them, or none when anything is raised."""
        with self.in_words():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def in_words(self) -> Iterator[None]:
        """Turn an SQLite error in the block into a DatasetError that says what is wrong with which file, and what to
        do."""
        try:
            yield
        except sqlite3.Error as error:
            raise DatasetError(f"{self.path or 'memory'} cannot be used as {self.whose}: {self._why(error)}") from error

    def _why(self, error: sqlite3.Error) -> str:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").partition("_")[0]
        if name in ("CORRUPT", "NOTADB"):
            return f"it is damaged or no SQLite database; move it away: {self.loss}"
        return _WORDS.get(name) or str(error)
