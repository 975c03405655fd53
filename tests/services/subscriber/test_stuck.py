"""A subscriber that is stuck costs the master a bounded queue and no time; it catches up by what the log kept."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
import zmq

from benchmarks.stuck import NONE, STUCK, rounds
from master.events.log_end import LogEnd
from master.events.publisher import LogTail, Publisher
from protocol.events import Announcement
from protocol.transport.sockets import publisher

MOST = 64 * 1024 * 1024
MIN_SHARE = 0.7
"""Of the rate without a subscriber, on a machine that does much else; `benchmarks/stuck.py` says it with ten rounds."""
LISTENER = """
import sys, zmq
hears = zmq.Context().socket(zmq.SUB)
hears.setsockopt(zmq.SUBSCRIBE, b"")
hears.connect("tcp://127.0.0.1:" + sys.argv[1])
hears.recv_multipart()
print("heard", flush=True)
while True:
    hears.recv_multipart()
"""


def held() -> int:
    """Bytes that this process holds of its own."""
    rows = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("RssAnon")) * 1024


@pytest.mark.slow
def test_a_stuck_subscriber_costs_at_most_64_mib_and_never_a_wait() -> None:
    with zmq.Context() as context:
        socket, port = publisher(context, "127.0.0.1", 0)
        published = Publisher(socket, LogTail())
        listener = subprocess.Popen([sys.executable, "-c", LISTENER, str(port)], stdout=subprocess.PIPE)
        dispatch: Any = SimpleNamespace(lead=SimpleNamespace(incarnation="i"), log_end=LogEnd(), events=[])
        sequence, longest = 0, 0.0

        def publish(page: bytes) -> None:
            nonlocal sequence, longest
            body = msgpack.packb(["7", 200, "", "i:1", 1, "T"])
            for _ in range(50):
                sequence += 1
                topic = ("timeline.page", body, "timeline.records", page)
                dispatch.events.append(Announcement(sequence, sequence - 1, *topic))
            begun = time.perf_counter()
            published.turn(time.monotonic(), dispatch, dict)
            longest = max(longest, time.perf_counter() - begun)

        try:
            assert listener.stdout is not None
            while not socket.poll(100):
                pass  # the subscription has not come yet
            publish(b"x")
            assert listener.stdout.readline() == b"heard\n"
            listener.send_signal(signal.SIGSTOP)
            before = held()
            for _ in range(200):  # 400 MB, of pages that are all different
                publish(os.urandom(40_000))
            assert held() - before < MOST
            assert longest < 1.0
        finally:
            listener.kill()
            listener.wait()
            published.close()


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(300)
def test_dispatch_goes_on_beside_a_subscriber_that_is_stopped_and_reads_all_afterwards(tmp_path: Path) -> None:
    runs = rounds(tmp_path, 3, 60_000, (NONE, STUCK))
    share = statistics.median(one.rate for one in runs[STUCK]) / statistics.median(one.rate for one in runs[NONE])
    assert share > MIN_SHARE, runs
    assert max(one.memory for one in runs[STUCK]) < MOST, runs
    assert {one.how for one in runs[STUCK]} == {"read"}, runs
