"""`tmatic-events tail` as people call it: what cannot be asked for, and what cannot be printed, is said in words."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from protocol.errors import UsageError
from services.subscriber.command import LAST_SEQUENCE, command
from services.subscriber.printing import Printing
from tests.checkout import ROOT

TIMEOUT_S = 60

PRINTING = """
import sys
from protocol.cli import run
from services.subscriber.consumer import Event, Position
from services.subscriber.printing import Printing
import click

@click.command()
def tail():
    printing = Printing(("job.",), None, in_json=in_json)
    printing.apply([Event(1, "job.done", ["T", "12", "complete", 3])], Position("l", "i", 1))
    printing.resynchronise(Position("l", "i", 9))
    printing.hear("stats.gauges", {"a": 1})

in_json = "--json" in sys.argv
del sys.argv[1:]
run(tail, "tmatic-events")
"""


def printed(*arguments: str, to: str = "") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", PRINTING, *arguments]
    with open(to or os.devnull, "wb") as file:
        out = file if to else subprocess.PIPE
        return subprocess.run(words, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S)


def test_events_are_a_line_each() -> None:
    done = printed()
    assert (done.returncode, done.stderr) == (0, "")
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "1 job.done operation T user 12 outcome complete records 3",
        "# events before 9 are not kept any more",
        "stats.gauges 1 values",
    ]
    assert '{"topic": "stats.gauges", "body": {"a": 1}}' in printed("--json").stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
def test_a_disk_that_is_full_is_told_in_one_sentence() -> None:
    done = printed(to="/dev/full")
    assert (done.returncode, done.stderr) == (1, "tmatic-events: standard output: No space left on device\n")


def test_a_reader_that_went_away_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr("sys.stdout", gone)
        with pytest.raises(BrokenPipeError):
            Printing((), None, in_json=False).hear("stats.gauges", {})
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            gone.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, gone.fileno())
        os.close(nowhere)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("tail", "--from", str(LAST_SEQUENCE + 1)), "--from must be a sequence, from 0 to"),
        (("tail", "--from", "99999999999999999999999"), "--from must be a sequence, from 0 to"),
        (("tail", "--topic", "job.", "--topic", "\udcff"), "--topic must be the beginning of a topic"),
        (("forget", "\udcff"), "no reader is called"),
    ],
)
def test_what_no_master_can_be_asked_is_refused_in_words(words: tuple[str, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        CliRunner().invoke(command, [*words, "--port", "1"], catch_exceptions=False, standalone_mode=False)
