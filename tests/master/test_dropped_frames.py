"""Frames that a master does not understand are counted by kind and shown in `status`, of the leader and the standby."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from master.dropped_frames import MAX_PEERS, DroppedFrames
from protocol import messages as wire
from protocol.errors import MalformedError
from services.monitor.reading import overview
from tests.checkout import ROOT
from tests.protocol.crawling import MASTER, TIMEOUT_S, crawl
from tests.waiting import until

GOOD = msgpack.packb([])
FRAMES = [
    ([b"\x01", b"HELLO"], "not three frames"),
    ([b"\x01", b"HELLO", GOOD, b""], "not three frames"),
    ([b"\x09", b"HELLO", GOOD], "another version"),
    ([b"", b"\xff\xfe", b""], "another version"),
    ([b"\x01", b"HOLA", GOOD], "unknown type"),
    ([b"\x01", b"\xff" * 4096, GOOD], "unknown type"),
    ([b"\x01", b"HELLO", GOOD], "malformed HELLO"),
    ([b"\x01", b"RESULT", b"\xc1"], "malformed RESULT"),
]


def test_each_kind_is_counted_under_a_name_of_a_closed_set(caplog: pytest.LogCaptureFixture) -> None:
    dropped = DroppedFrames()
    for frames, kind in FRAMES:
        before = dropped.counted[kind]
        with pytest.raises(MalformedError):
            wire.decode(frames)
        dropped.malformed(b"peer", frames, "why")
        assert dropped.counted[kind] == before + 1
    for number in range(2 * MAX_PEERS):
        dropped.malformed(b"%d" % number, [b"\x01", b"X%d" % number, GOOD], "why")
    assert dropped.counted["unknown type"] == 2 + 2 * MAX_PEERS
    assert len(dropped.counted) == 5
    assert len(caplog.records) == MAX_PEERS, "once a peer, and not of any number of them"
    assert caplog.records[0].levelno == logging.WARNING


def test_what_only_a_master_says_is_counted_and_what_others_say_is_not() -> None:
    dropped = DroppedFrames()
    assert dropped.unexpected(b"peer", wire.Drain(3))
    assert dropped.counted == {"unexpected DRAIN": 1}
    for message in (wire.Bye("run"), wire.Status("status"), wire.Passed("a", "b", 1)):
        assert not dropped.unexpected(b"peer", message)


def test_the_monitor_shows_what_the_leader_dropped() -> None:
    seen = overview({"counted": {"words dropped": 2}, "dropped": {"unknown type": 3, "strange": "x"}})
    assert seen["counted"] == {"words dropped": 2, "frames dropped, unknown type": 3, "frames dropped, strange": 0}


def say(port: int, *messages: list[bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{port}")
        for frames in messages:
            socket.send_multipart(frames)
        socket.send_multipart(wire.encode(wire.Status("where")))
        assert socket.poll(int(TIMEOUT_S * 1000)), "no answer"


def status(port: int, folder: Path, *flags: str) -> str:
    asked = [*MASTER, "status", "--output", str(folder / "data"), "--port", str(port), *flags]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


@pytest.mark.slow
def test_status_tells_what_the_leader_and_the_standby_dropped(valkey: str, tmp_path: Path) -> None:
    pair = ["--redis", valkey, "--durability", "everysec", "--ha"]
    strange, old = [b"\x01", b"HOLA", GOOD], [b"\x09", b"RESULT", GOOD]
    with crawl(tmp_path, "1000", 2, *pair, "0") as running:
        second = [*MASTER, *running.asked[:-1], "1"]
        with (tmp_path / "second.log").open("wb") as words:
            standby = subprocess.Popen(second, cwd=ROOT, stdout=words, stderr=words)
        try:
            say(running.port, strange, strange, old)
            say(running.port + 1, strange)

            def told() -> dict[str, Any]:
                state: dict[str, Any] = json.loads(status(running.port, tmp_path, "--redis", valkey, "--json"))
                return {place.rpartition(":")[2]: kinds for place, kinds in state["dropped_by"].items()}

            both = {
                str(running.port): {"unknown type": 2, "another version": 1},
                str(running.port + 1): {"unknown type": 1},
            }
            until(lambda: told() == both, TIMEOUT_S)
            rows = {
                f"master 127.0.0.1:{running.port}: frames dropped: 3 (1 another version, 2 unknown type)",
                f"master 127.0.0.1:{running.port + 1}: frames dropped: 1 (1 unknown type)",
            }
            # A master that is slower than a second is left out, and told of the next time.
            until(lambda: rows <= set(status(running.port, tmp_path, "--redis", valkey).splitlines()), TIMEOUT_S)
        finally:
            standby.kill()
            standby.wait()
