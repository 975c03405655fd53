"""A subscriber for tests: every end of a job and every post, as they came, in SQLite with the position.

usage: tallying.py PORT DATABASE OUTPUT
"""

from __future__ import annotations

import gzip
import logging
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from protocol.jobs import Operation
from protocol.settings.settings import Settings
from services.subscriber.consumer import Event, Position
from services.subscriber.subscriber import Subscriber
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind

TABLES = """
create table if not exists ends(operation, user, outcome, records);
create table if not exists posts(id primary key);
create table if not exists unread(user primary key);
create table if not exists at(position);
create table if not exists counted(what primary key, times);
"""


class Tally:
    """Counts ends, and keeps the ids of posts."""

    topics = ("timeline.", "job.", "stats.")

    def __init__(self, path: Path, output: Path) -> None:
        self.name = path.stem
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.executescript(TABLES)
        self.dataset = FileDataset(output)
        self.gauges: dict[str, Any] = {}

    def position(self) -> Position | None:
        row = self.db.execute("select position from at").fetchone()
        return Position.parse(row[0]) if row else None

    def apply(self, events: Sequence[Event], position: Position) -> None:
        with self.db:
            for event in events:
                if event.topic == "job.done":
                    operation, user, outcome, records, *_ = event.record
                    self.db.execute("insert into ends values(?, ?, ?, ?)", [operation, user, outcome, records])
                    if operation in "TU":
                        self._end(user, event.payload)
                elif event.topic == "timeline.page":
                    self._page(event.record[0], event.payload)
            self._store(position)

    def resynchronise(self, position: Position) -> None:
        with self.db:
            self.db.execute("delete from ends")
            self._count("resynchronised")
            for receipt in self.dataset.receipts():
                words = [receipt.operation.value, receipt.user, receipt.outcome.value, receipt.received]
                self.db.execute("insert into ends values(?, ?, ?, ?)", words)
                if receipt.operation is Operation.TIMELINE:
                    self._keep(self.dataset.lines(receipt.user, RecordKind.TIMELINE))
            self._store(position)

    def hear(self, topic: str, body: Any) -> None:
        self.gauges = body

    def _page(self, user: str, payload: bytes | None) -> None:
        if payload is None:
            self.db.execute("insert or ignore into unread values(?)", [user])
            self._count("missed")
        else:
            self._keep(gzip.decompress(payload).splitlines())
            self._count("rode along")

    def _end(self, user: str, payload: bytes | None) -> None:
        unread = self.db.execute("delete from unread where user = ?", [user]).rowcount
        if payload is None or unread:
            self._keep(self.dataset.lines(user, RecordKind.TIMELINE))
            self._count("read")
        else:
            self._keep(gzip.decompress(payload).splitlines())

    def _keep(self, lines: Iterable[bytes]) -> None:
        ids = [(orjson.loads(line)["id_str"],) for line in lines]
        self.db.executemany("insert or ignore into posts values(?)", ids)

    def _count(self, what: str) -> None:
        self.db.execute("insert into counted values(?, 1) on conflict(what) do update set times = times + 1", [what])

    def _store(self, position: Position) -> None:
        self.db.execute("delete from at")
        self.db.execute("insert into at values(?)", [str(position)])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    tally = Tally(Path(sys.argv[2]), Path(sys.argv[3]))
    Subscriber(Settings(port=int(sys.argv[1])), tally).run(stopped)
