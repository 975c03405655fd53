"""The monitor's file: nobody else's is touched, and whatever stands in it is shown, dropped, or told in a sentence."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from protocol.errors import MalformedError, TmaticError, UsageError
from services.lookup.store import Store
from services.monitor.course import COLUMNS
from services.monitor.feed import Feed
from services.monitor.store import APPLICATION_ID, MonitorStore
from services.subscriber.consumer import Position
from tests.checkout import ROOT
from tests.waiting import until

PLACE = Position("ledger", "incarnation", 7)
FORMER = """
CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE lineage (
    user TEXT PRIMARY KEY, parent TEXT NOT NULL, depth INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX children ON lineage (parent);
INSERT INTO kept VALUES ('format', x'31'), ('position', CAST('ledger:incarnation:7' AS BLOB));
INSERT INTO lineage VALUES ('a', '', 0), ('b', 'a', 1);
"""
"""As the file was made before it said whose it is."""


def database(path: Path, script: str) -> Path:
    base = sqlite3.connect(path)
    base.executescript(script)
    base.close()
    return path


def made(path: Path) -> Path:
    store = MonitorStore(path)
    store.record([("a", "", 0), ("b", "a", 1)], PLACE)
    store.close()
    return path


def changed(path: Path, statement: str, *values: object) -> Path:
    base = sqlite3.connect(path)
    with base:
        base.execute(statement, values)
    base.close()
    return path


def of_lookup(path: Path) -> None:
    Store(path).close()


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a lookup's": of_lookup,
    "a table": lambda path: database(path, "CREATE TABLE other (x)"),
    "a table of our name": lambda path: database(path, "CREATE TABLE kept (name TEXT, value INTEGER)"),
    "ours and another": lambda path: database(path, FORMER + "CREATE TABLE other (x)"),
    "a view": lambda path: database(path, FORMER + "CREATE VIEW children2 AS SELECT * FROM kept"),
    "an application": lambda path: database(path, "PRAGMA application_id = 5"),
    "a version": lambda path: database(path, FORMER + "PRAGMA user_version = 2"),
}


@pytest.mark.parametrize("whose", FOREIGN)
def test_a_file_of_somebody_else_is_refused_and_not_written_to(whose: str, tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    FOREIGN[whose](path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not a file that tmatic-monitor made"):
        MonitorStore(path)
    assert path.read_bytes() == before


def test_a_file_of_another_version_of_ours_is_refused_and_not_written_to(tmp_path: Path) -> None:
    path = changed(made(tmp_path / "monitor.db"), "UPDATE kept SET value = x'32' WHERE name = 'format'")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="another version"):
        MonitorStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statements", [FORMER, "", "CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"]
)
def test_a_file_from_before_it_said_whose_it_is_still_opens(statements: str, tmp_path: Path) -> None:
    path = database(tmp_path / "monitor.db", statements)
    for _ in range(2):
        store = MonitorStore(path)
        if statements == FORMER:
            assert store.position() == PLACE
            assert [step.user for step in store.path("b")] == ["a", "b"]
        store.close()
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    base.close()


HOLDER = """
import sys, time
from pathlib import Path
from services.monitor.store import MonitorStore
store = MonitorStore(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
    with pytest.raises(UsageError, match="in use by another tmatic-monitor"):
        MonitorStore(path)
    holder.kill()
    holder.wait(10)
    holder.stdout.close()
    MonitorStore(path).close()


def test_who_is_refused_keeps_no_lock(tmp_path: Path) -> None:
    path = database(tmp_path / "some.db", "CREATE TABLE other (x)")
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UsageError, match="not a file"):
        MonitorStore(path)
    assert len(os.listdir("/proc/self/fd")) == files
    path.unlink()
    MonitorStore(path).close()


@pytest.mark.parametrize("path", ["nowhere/monitor.db", "file/monitor.db"])
def test_a_place_where_no_file_can_be_is_told_in_a_sentence(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TmaticError, match="monitor"):
        MonitorStore(tmp_path / path)


STRANGE = [
    b"ledger:incarnation:12345678901234567890123",
    b"ledger:incarnation:" + b"9" * 5_000,
    b"ledger:incarnation:-1",
    b"l" * 2_000 + b":i:1",
    b"nonsense",
    b"\xff:i:1",
    b"",
    "text:i:1",
    17,
    1.5,
    None,
]


@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_a_position_that_cannot_be_is_told_in_a_sentence(value: object, tmp_path: Path) -> None:
    path = changed(made(tmp_path / "monitor.db"), "UPDATE kept SET value = ? WHERE name = 'position'", value)
    store = MonitorStore(path)
    with pytest.raises(MalformedError, match="never wrote there: move it away"):
        store.position()
    store.close()


@pytest.mark.parametrize(
    "value",
    [b"[]", b"{", b"", b"3", b"\xff", b'"x"', b"[" * 5_000, orjson.dumps({"columns": COLUMNS, "whole": 3})],
    ids=repr,
)
def test_a_course_that_cannot_be_is_dropped_and_told(
    value: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = changed(made(tmp_path / "monitor.db"), "INSERT INTO kept VALUES ('course', ?)", value)
    store = MonitorStore(path)
    with caplog.at_level(logging.WARNING):
        feed = Feed(store, 10)
    assert feed.course()["whole"][0] == []
    assert ["course that was kept" in told.message for told in caplog.records] == [True]
    assert feed.position() == PLACE
    store.close()


def test_a_lineage_that_cannot_be_is_passed_over(tmp_path: Path) -> None:
    path = changed(made(tmp_path / "monitor.db"), "INSERT INTO lineage VALUES ('c', 'b', 'deep'), (x'ff', 'b', 1)")
    changed(path, "INSERT INTO lineage VALUES ('d', x'ff', 3)")
    store = MonitorStore(path)
    assert [(step.user, step.depth) for step in store.path("c")] == [("a", 0), ("b", 1), ("c", None)]
    assert [(step.user, step.depth) for step in store.path("d")] == [("d", 3)]
    assert store.led_to("b", 10) == (["c"], 2)
    store.close()


QUESTIONS: dict[str, Callable[[MonitorStore], object]] = {
    "position": MonitorStore.position,
    "course": MonitorStore.course,
    "path": lambda store: store.path("a"),
    "led to": lambda store: store.led_to("a", 5),
    "record": lambda store: store.record([], PLACE),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_file_that_fails_under_us_is_told_in_a_sentence(question: str, tmp_path: Path) -> None:
    path = made(tmp_path / "monitor.db")
    store = MonitorStore(path)
    base = sqlite3.connect(path)
    base.executescript("DROP TABLE kept; DROP TABLE lineage")
    base.close()
    with pytest.raises(TmaticError, match="cannot be used as the monitor's file"):
        QUESTIONS[question](store)
    store.close()


def test_the_command_refuses_a_lookups_file_in_one_sentence(tmp_path: Path) -> None:
    of_lookup(tmp_path / "lookup.db")
    command = Path(sys.executable).with_name("tmatic-monitor")
    words = ["--database", "lookup.db", "--monitor-port", "0"]
    done = subprocess.run([command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "not a file that tmatic-monitor made" in done.stderr


def test_the_command_ends_in_one_sentence_over_a_position_that_cannot_be(tmp_path: Path) -> None:
    path = changed(made(tmp_path / "monitor.db"), "UPDATE kept SET value = ? WHERE name = 'position'", STRANGE[0])
    command = Path(sys.executable).with_name("tmatic-monitor")
    words = ["--database", str(path), "--monitor-port", "0", "--master", "127.0.0.1:1"]
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen([command, *words], cwd=tmp_path, stderr=told)
    assert until(process.poll, 30) == 1
    assert "Traceback" not in (tmp_path / "told").read_text()
    assert "move it away" in (tmp_path / "told").read_text()
