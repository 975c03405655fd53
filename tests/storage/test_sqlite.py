"""The one way to open a SQLite file: what it promises, and the sentence for each thing that is wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.errors import DatasetError, UsageError
from services.lookup.store import Store
from services.monitor.store import MonitorStore
from services.stats.carbon.sent import Sent
from storage.sqlite import SqliteFile

SCHEMA = ("CREATE TABLE kept (x)",)


def file(path: Path) -> SqliteFile:
    """A file of these tests."""
    return SqliteFile(path, "the test's file", "nothing is lost")


def is_made(base: sqlite3.Connection) -> bool:
    """Whether the schema is there."""
    return bool(base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def refuse(base: sqlite3.Connection) -> bool:
    """What finds that a file is another's."""
    raise UsageError(f"{base} is another's")


def rows(path: Path) -> list[tuple[int]]:
    """What another process sees in it."""
    base = file(path).opened_to_read()
    found = base.execute("SELECT x FROM kept").fetchall()
    base.close()
    return found


def test_the_schema_is_made_once_and_a_commit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "odd ?#% name.db"
    for number in range(2):
        base = file(path).opened(SCHEMA, is_made)
        with file(path).transaction(base):
            base.execute("INSERT INTO kept VALUES (?)", (number,))
        assert [base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")] == ["wal", 2]
        base.close()
    assert rows(path) == [(0,), (1,)]


def test_a_transaction_in_which_anything_is_raised_leaves_nothing(tmp_path: Path) -> None:
    kept = file(tmp_path / "file.db")
    base = kept.opened(SCHEMA, is_made)
    with pytest.raises(KeyboardInterrupt), kept.transaction(base):
        base.execute("INSERT INTO kept VALUES (1)")
        raise KeyboardInterrupt
    with pytest.raises(DatasetError, match="no such table"), kept.transaction(base):
        base.execute("INSERT INTO kept VALUES (1)")
        base.execute("INSERT INTO nowhere VALUES (1)")
    assert rows(tmp_path / "file.db") == []
    base.close()


def test_a_file_that_is_refused_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    sqlite3.connect(path).execute("CREATE TABLE other (x)").connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError):
        file(path).opened(SCHEMA, refuse)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["file.db"]


def test_who_only_reads_cannot_write_and_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    with pytest.raises(DatasetError, match=r"file\.db cannot be used as the test's file: it cannot be opened"):
        file(path).opened_to_read()
    assert not path.exists()
    file(path).opened(SCHEMA, is_made).close()
    base = file(path).opened_to_read()
    with pytest.raises(DatasetError, match="it cannot be written; see whom"), file(path).in_words():
        base.execute("INSERT INTO kept VALUES (1)")
    base.close()


def test_a_file_that_another_one_keeps_locked_is_told_after_the_wait(tmp_path: Path) -> None:
    kept = file(tmp_path / "file.db")
    first, second = kept.opened(SCHEMA, is_made), kept.opened(SCHEMA, is_made, busy_s=0.01)
    locked = pytest.raises(DatasetError, match="another process keeps it locked")
    with kept.transaction(first), locked, kept.transaction(second):
        pass
    first.close()
    second.close()


OPENED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "lookup": ("file.db", Store, "the lookup's database"),
    "monitor": ("file.db", MonitorStore, "the monitor's file"),
    "stats": ("file.sent", lambda path: Sent(path.with_suffix(""), "carbon"), "the journal of what was sent"),
}


@pytest.mark.parametrize("service", OPENED)
def test_a_damaged_file_is_told_with_its_path_whose_it_is_and_what_to_do(tmp_path: Path, service: str) -> None:
    name, hold, whose = OPENED[service]
    (tmp_path / name).write_text("this is somebody's diary\n" * 200)
    with pytest.raises(DatasetError) as told:
        hold(tmp_path / name)
    assert str(told.value).startswith(
        f"{tmp_path / name} cannot be used as {whose}: it is damaged or no SQLite database; move it away: "
    )


@pytest.mark.parametrize("service", OPENED)
def test_a_place_where_no_file_can_be_is_told(tmp_path: Path, service: str) -> None:
    name, hold, whose = OPENED[service]
    (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=f"cannot be used as {whose}: it cannot be opened; see"):
        hold(tmp_path / name)
