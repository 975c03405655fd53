"""`tmatic-lookup` as a process: it follows, answers, ends in order, and refuses in words.

The subscriber is one of the tests' own here: what is under test is the process around it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.services.http.serving import PATIENCE_S, ask, request
from tests.services.lookup.making import in_lookup, profile
from tests.waiting import until

SCRIPT = """
import sys, types
from protocol.errors import LedgerError
from tests.services.lookup.making import at, done_event, profile

class Subscriber:
    def __init__(self, settings, consumer, dataset):
        self.consumer = consumer
    def run(self, stopped):
        self.consumer.apply([done_event(1, "u", 1, [profile(1)])], at(1))
        if "fail" in sys.argv[0]:
            raise LedgerError("the log is gone")
        stopped.wait()

module = types.ModuleType("services.subscriber.subscriber")
module.Subscriber = Subscriber
sys.modules[module.__name__] = module
from services.lookup.command import main
main()
"""


@contextmanager
def started(folder: Path, *arguments: str, named: str = "lookup.py") -> Iterator[subprocess.Popen[str]]:
    script = folder / named
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), "--lookup-port", "0", "--output", str(folder / "data"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=folder, env=environment, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def place_of(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stderr is not None
    for line in process.stderr:
        if "listens at http://" in line:
            host, _, port = line.strip().rpartition("http://")[2].rpartition(":")
            return host, int(port)
    raise AssertionError("it never answered")


def test_it_follows_answers_and_ends_in_order(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        place = place_of(process)
        assert place[0] == "127.0.0.1"
        until(lambda: ask(*place, request("GET", "/lookup/id/1")).status == 200, PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
    assert in_lookup(tmp_path / "lookup.db") == {"1": profile(1)}


def test_when_following_fails_it_ends_with_one_sentence(tmp_path: Path) -> None:
    with started(tmp_path, named="fail.py") as process:
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr is not None
        last = process.stderr.read().splitlines()[-1]
    assert last == "tmatic-lookup: the log is gone"


@pytest.mark.parametrize("with_port", [False, True])
def test_a_second_one_is_refused_in_words(tmp_path: Path, with_port: bool) -> None:
    with started(tmp_path) as first:
        _, port = place_of(first)
        other = ["--lookup-port", str(port), "--lookup-database", "other.db"] if with_port else []
        with started(tmp_path, *other) as second:
            assert second.wait(PATIENCE_S) == (1 if with_port else 2)
            assert second.stderr is not None
            words = second.stderr.read()
    assert ("is in use; choose another" if with_port else "in use by another tmatic-lookup") in words
    assert "Traceback" not in words
