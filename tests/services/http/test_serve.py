"""A service as a process: it ends in order when it is told to, and with the error of what runs beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.checkout import ROOT
from tests.services.http.serving import PATIENCE_S, ask, connected, ended, read_answer, request
from tests.waiting import until

SCRIPT = """
import sys, threading
from protocol.errors import UsageError
from services.http import serve
from tests.services.http.applications import Trial
trial, told = Trial(), threading.Event()

def beside():
    if told.wait(0.2 if sys.argv[1] == "fails" else 60):
        print("the one beside ended in order", flush=True)
    else:
        raise UsageError("the one beside failed")

try:
    serve(trial.app(), "trial", port=0, beside=[beside], ending=[trial.gate.set, trial.streams.end, told.set],
          ready=lambda url: print(url, flush=True))
except UsageError as error:
    print(error, flush=True)
    sys.exit(2)
print("all ended", flush=True)
"""


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    mode = getattr(request, "param", "stays")
    command = [sys.executable, "-c", SCRIPT, mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def place_of(process: subprocess.Popen[bytes]) -> tuple[str, int]:
    assert process.stdout is not None
    host, _, port = process.stdout.readline().decode().strip().removeprefix("http://").rpartition(":")
    return host, int(port)


def rest_of(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().decode().splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(started: subprocess.Popen[bytes], number: signal.Signals) -> None:
    place = place_of(started)
    with connected(*place) as idle, connected(*place) as waiting, connected(*place) as streaming:
        idle.sendall(request("GET", "/"))
        assert read_answer(idle).status == 200
        streaming.sendall(request("GET", "/events"))
        until(lambda: b"line two" in streaming.recv(65536), PATIENCE_S)
        waiting.sendall(request("GET", "/waits"))
        assert ask(*place, request("GET", "/")).status == 200
        started.send_signal(number)
        assert read_answer(waiting).status == 200  # it was under way, and is answered
        assert ended(streaming)
        assert ended(idle)
    assert started.wait(PATIENCE_S) == 0
    assert rest_of(started) == ["the one beside ended in order", "all ended"]


@pytest.mark.parametrize("started", ["fails"], indirect=True)
def test_when_what_runs_beside_fails_serving_ends_with_its_error(started: subprocess.Popen[bytes]) -> None:
    place_of(started)
    assert started.wait(PATIENCE_S) == 2
    assert rest_of(started) == ["the one beside failed"]
