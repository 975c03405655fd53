"""A crawl that runs is never taken for one that rests, wherever its master listens; and what tools say of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from master.commands import master
from master.frontier.plan import Plan
from master.frontier.traversal import Traversing
from protocol.errors import LedgerError
from protocol.jobs import Operation
from storage.dataset.files.dataset import FileDataset
from storage.ledger.ledger import Ledger
from tests.crawl.running import COVERED
from tests.ports import free_port
from tests.storage.ledger.scribe import Scribe
from tests.waiting import until

pytestmark = pytest.mark.slow

MASTER = (sys.executable, "-m", "master.commands.master")
ELSEWHERE = "elsewhere.example.org:8123"


def said(*words: str) -> tuple[int, str]:
    """The exit code of `tmatic-master`, and what it prints on both streams."""
    done = subprocess.run([*MASTER, *words], capture_output=True, text=True, env=COVERED, timeout=30)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@contextlib.contextmanager
def led_from_elsewhere(url: str, folder: Path, *, alive: bool = True) -> Iterator[list[str]]:
    """A crawl whose leader beats, and is on no machine that can be asked; what tools are told of where it is."""
    FileDataset(folder).set_ledger_id("main", "tests")
    over = threading.Event()
    with redis.Redis.from_url(url) as client:
        ledger = Ledger(client, "main")
        lead = ledger.take("first", ledger.observe(), witness=0, ledger_id="tests", name=ELSEWHERE)
        scribe = Scribe(ledger, lead, lead.beat)
        scribe.target("7")

        def beat() -> None:
            while alive and not over.wait(0.05):
                scribe.commit()

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            yield ["--output", str(folder), "--redis", url, "--durability", "memory", "--port", str(free_port())]
        finally:
            over.set()
            thread.join()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    FileDataset(folder).check()
    return folder


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status"], 0),
        (["drain"], 1),
        (["promote"], 1),
        (["requeue", "T:7"], 1),
        (["drop", "T:7"], 1),
        (["audit", "--repair"], 1),
    ],
)
def test_a_leader_that_is_not_reached_is_named(valkey: str, dataset: Path, words: list[str], code: int) -> None:
    with led_from_elsewhere(valkey, dataset) as where:
        done = CliRunner().invoke(master.tmatic_master, [*words, *where])
    answer = done.output + str(done.exception or "")
    assert f"led by {ELSEWHERE}, which does not answer at 127.0.0.1:{where[-1]}" in answer
    assert "name it by --host and --port" in answer
    assert (done.exit_code, "crawl main: resting" in answer) == (code, False)


def test_the_audit_of_it_says_that_it_runs(valkey: str, dataset: Path) -> None:
    with led_from_elsewhere(valkey, dataset) as where:
        done = CliRunner().invoke(master.tmatic_master, ["audit", "--fast", *where])
    assert "the crawl is running: what moves while it is counted" in done.output


def test_a_leader_whose_beat_stands_still_is_none(valkey: str, dataset: Path) -> None:
    with led_from_elsewhere(valkey, dataset, alive=False) as where:
        done = CliRunner().invoke(master.tmatic_master, ["status", "--json", *where])
    state: dict[str, Any] = json.loads(done.output)
    assert (state["state"], state["trouble"]) == ("empty", "")


def test_a_last_page_is_a_page_that_status_counts(valkey: str, dataset: Path) -> None:
    with led_from_elsewhere(valkey, dataset) as where, redis.Redis.from_url(valkey) as client:
        told = {"T.steps": 3, "T.complete": 34, "T.protected": 2, "T.done": 36, "F.complete": 1}
        client.hset(Ledger(client, "main").prefix + "totals", mapping=told)
        done = CliRunner().invoke(master.tmatic_master, ["status", *where])
    rows = {row.split()[0]: row.split() for row in done.output.splitlines() if row}
    assert (rows["timeline"][6], rows["follower"][6]) == ("37", "1")


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("held", "first:1", b"garbage"),
        ("held", "first:1", b"\x91\x01"),
        ("dead", "T:7", b"x"),
        ("dead", "T:7", b"\x92\x01\xc1"),
        ("lead", "beat", b"soon"),
        ("totals", "tokens", b"many"),
        ("totals", b"\xff", b"1"),
        ("crawl", "traversing", b"sideways"),
        ("sets", "seen.members", b"all"),
    ],
)
def test_what_no_master_wrote_into_a_key_is_one_sentence(
    valkey: str, dataset: Path, key: str, field: str | bytes, value: bytes
) -> None:
    with led_from_elsewhere(valkey, dataset, alive=False) as where, redis.Redis.from_url(valkey) as client:
        ledger = Ledger(client, "main")
        ledger.release("first", ledger.observe().beat)
        client.hset(ledger.prefix + "crawl", mapping=Plan((Operation.TIMELINE,), Traversing.BFS, 0).remembered())
        client.hset(ledger.prefix + key, field, value)
        for words in (["status"], ["audit", "--fast"]) if key == "held" else (["audit", "--fast"],):
            done = CliRunner().invoke(master.tmatic_master, [*words, *where])
            assert isinstance(done.exception, LedgerError)
            assert f"the ledger's key {{tmatic:main}}:{key} holds what no master wrote there: " in str(done.exception)


def _leads(log: Path) -> bool:
    return "took the lead" in log.read_text(encoding="utf-8")


def test_the_second_crawl_of_a_machine_is_found_on_its_own_port(tmp_path: Path) -> None:
    usual = free_port()
    with contextlib.ExitStack() as running:
        # A path that is too long for a socket, as users have some.
        deep = tmp_path / ("a name with blanks " * 3) / ("é" * 30)
        for name, port in (("one", usual), ("two", 0)):
            targets, folder = tmp_path / f"{name}.txt", deep / name
            targets.write_text("12\n")
            words = ["-T", "--stream", str(targets), "--output", str(folder), "--port", str(port)]
            log = tmp_path / f"{name}.log"
            with log.open("wb") as told:
                master = subprocess.Popen([*MASTER, *words], stderr=told, env=COVERED)
            running.callback(master.wait, 30)
            running.callback(master.terminate)
            until(partial(_leads, log), 20)
        where = ["--output", str(deep / "two"), "--port", str(usual)]
        code, answer = said("status", *where)
        assert code == 0 and answer.startswith("crawl main: running, "), answer
        assert "the crawl is running" in said("audit", "--fast", *where)[1]
        assert said("audit", "--repair", *where)[0] == 1
        assert "would not: there is no such dead letter" in said("requeue", "T:12", *where)[1]
        code, answer = said("drain", *where)
        assert code == 0 and answer.startswith("draining: crawl main: draining"), answer
        code, answer = said("status", "--output", str(deep / "one"), "--port", str(usual))
        assert answer.startswith("crawl main: running, "), answer
