"""A subscriber that was killed, stopped or late ends with what the dataset says, each thing once, as a calm one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind
from tests.checkout import ROOT
from tests.crawl.running import COVERED, audit, children, crawling, dataset, emulator
from tests.ports import free_ports
from tests.waiting import until

WITHIN_S = 120.0
TALLYING = Path(__file__).with_name("tallying.py")


class Listener:
    """A subscriber in a process of its own."""

    def __init__(self, tmp_path: Path, name: str, script: list[str]) -> None:
        self.database, self._script = tmp_path / f"{name}.db", script
        self._words = (tmp_path / f"{name}.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._script, env=COVERED, stdout=self._words, stderr=self._words)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None and self.process.poll() is None, "it ended by itself"
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def rows(self, question: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as db:
            return db.execute(question).fetchall()

    def position(self) -> int:
        with contextlib.suppress(sqlite3.OperationalError):
            rows = self.rows("select position from at")
            return int(str(rows[0][0]).rpartition(":")[2]) if rows else 0
        return 0

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            assert self.process.wait(30) == 0
        self._words.close()


@contextlib.contextmanager
def tallies(tmp_path: Path, port: int, output: Path, *names: str) -> Iterator[list[Listener]]:
    made = [
        Listener(tmp_path, name, [sys.executable, str(TALLYING), str(port), str(tmp_path / f"{name}.db"), str(output)])
        for name in names
    ]
    try:
        yield made
    finally:
        for one in made:
            one.stop()


def head_of(folder: Path) -> int:
    """The last sequence of a crawl that rests."""
    command = [sys.executable, "-m", "master.commands.master", "status", "--json", "--output", str(folder)]
    command += ["--port", "1"]
    said = json.loads(subprocess.run(command, capture_output=True, env=COVERED, timeout=60, check=True).stdout)
    return int(said["log"]["head"])


def check(listener: Listener, folder: Path) -> None:
    """Exactly what the dataset says."""
    stored = FileDataset(folder)
    receipts = [(r.operation.value, r.user, r.outcome.value, r.received) for r in stored.receipts()]
    ends = listener.rows("select * from ends")
    assert sorted(map(str, ends)) == sorted(map(str, receipts))
    posts = {
        json.loads(line)["id_str"]
        for name in dataset(folder)
        if name.endswith(".twt")
        for line in stored.lines(name.removesuffix(".twt"), RecordKind.TIMELINE)
    }
    assert {row[0] for row in listener.rows("select id from posts")} == posts
    assert listener.rows("select * from unread") == []


def run(tmp_path: Path, users: int, kills: int, pause_s: float) -> dict[str, object]:
    chance, port, folder = random.Random(3), free_ports(), tmp_path / "data"
    targets = tmp_path / "targets.txt"
    targets.write_text("12\n")
    flags = [str(targets), "-T", "-F", "-A", "--traversing", "BFS", "--ha", "--workers", "2", "--port", str(port)]
    with (
        emulator("--users", str(users), "--seed", "7") as service,
        tallies(tmp_path, port, folder, "calm", "killed", "stopped", "late") as (calm, killed, stopped, late),
    ):
        with crawling(folder, *flags, "--base-url", service.url) as process:
            for one in (calm, killed, stopped):
                one.start()
            stalled = False
            for number in range(kills):
                goal = users * 3 * 0.8 * (number + chance.random()) / kills
                until(lambda: calm.position() >= goal or process.poll() is not None, WITHIN_S)  # noqa: B023
                killed.kill()
                killed.start()
                if number == kills // 3 and not stalled:
                    stalled = True
                    stopped.send(signal.SIGSTOP)
                    stop_until = until(lambda: calm.position(), WITHIN_S)
                    assert stop_until
                if number == kills // 2:
                    stopped.send(signal.SIGCONT)
                    late.start()
                if number in (kills // 3, 2 * kills // 3):  # a takeover: whichever of the two leads is among them
                    for master in children(process)["master"][:1]:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(master, signal.SIGKILL)
            assert process.wait(600) == 0, folder.with_suffix(".log").read_text()[-3000:]
        head = head_of(folder)
        for one in (calm, killed, stopped, late):
            until(lambda: one.position() >= head, WITHIN_S)  # noqa: B023
            check(one, folder)
        assert audit(folder)["clean"]
        return {one.database.stem: sorted(one.rows("select * from counted")) for one in (calm, killed, stopped, late)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_befalls_a_subscriber_it_ends_with_what_the_dataset_says(tmp_path: Path) -> None:
    print(run(tmp_path, 150, 6, 3.0))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_subscriber_of_the_manual_counts_what_the_dataset_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    code = re.search(r"```python\n(.+?)```", page, re.DOTALL)
    assert code is not None
    lines = [line for line in code[1].splitlines() if line.strip()]
    assert len(lines) <= 40
    port, folder = free_ports(), tmp_path / "data"
    script = tmp_path / "hashtags.py"
    script.write_text(
        code[1].replace("Settings()", f"Settings(port={port})").replace("hashtags.db", str(tmp_path / "tags.db"))
    )
    targets = tmp_path / "targets.txt"
    targets.write_text("".join(f"{number}\n" for number in range(12, 60)))
    tags = Listener(tmp_path, "tags", [sys.executable, str(script)])
    tags.start()
    common = ["--output", str(folder), "--port", str(port)]
    leading = [sys.executable, "-m", "master.commands.master", "-T", "--stream", str(targets), *common]
    with emulator("--users", "100", "--seed", "7") as service, (tmp_path / "words").open("wb") as words:
        master = subprocess.Popen(leading, env=COVERED, stderr=words)
        try:
            until(lambda: tags.position(), WITHIN_S)  # it is there before the first page is
            working = [sys.executable, "-m", "worker.command", "w1", *common, "--base-url", service.url]
            assert subprocess.run(working, env=COVERED, stderr=words, timeout=120, check=False).returncode == 0
            assert master.wait(60) == 0
        finally:
            master.kill()
            master.wait()
    tags.kill()
    tags.stop()
    counted: dict[str, int] = {}
    for name, text in dataset(folder).items():
        for line in text.splitlines() if name.endswith(".twt") else ():
            post = json.loads(line)
            for tag in post.get("retweeted_status", post)["entities"].get("hashtags", ()):
                counted[tag["text"].lower()] = counted.get(tag["text"].lower(), 0) + 1
    assert counted
    assert sorted(tags.rows("select tag, posts from tags")) == sorted(counted.items())
