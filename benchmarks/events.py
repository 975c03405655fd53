"""How fast events reach eight subscribers: the master's publisher, beside a bare PUB socket and beside Redis pub/sub.

usage: python benchmarks/events.py [--quick]

The world: commits of 200 announcements as a crawl makes them, one in five with a page of 8 KB, published
as after a commit (`master.events.publisher`); eight processes subscribe to everything, read, and count. The bare
socket sends the same frames, made before; Redis publishes the same bytes, a channel a topic, through a pipeline, as the
original did. All three keep within what a subscriber queues: after each 250 messages the sender waits until all eight
have them, so that nobody is measured by what he drops. They take turns; the medians count.

The last line is one JSON object: events_per_s, mb_per_s, bare_per_s, redis_per_s, share_of_bare.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import redis
import zmq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dispatch import server
from benchmarks.needs import require
from master.events.log_end import LogEnd
from master.events.publisher import LogTail, Publisher
from protocol.events import Announcement, announced, heads
from protocol.transport.sockets import publisher

SUBSCRIBERS = 8
COMMIT = 200
ONE_IN = 5
PAGE = os.urandom(8 * 1024)
AT_ONCE = 250
"""Messages between two waits for all subscribers."""


def commit(number: int) -> list[Announcement]:
    """What one commit announces; sequences go on from commit to commit."""
    events = []
    for n in range(COMMIT):
        sequence = number * COMMIT + n + 1
        user = str(22_013_880 + sequence)
        if n % ONE_IN:
            body = msgpack.packb(["T", user, "complete", 200, 1, "22013880", "worker-001"])
            events.append(Announcement(sequence, sequence - 1, "job.done", body))
        else:
            body = msgpack.packb([user, 200, "1467500000000000000", "5a17c0de5a17c0de:7", 8192, "T"])
            events.append(Announcement(sequence, sequence - 1, "timeline.page", body, "timeline.records", PAGE))
    return events


def listen(kind: str, port: int, acknowledge: int) -> None:
    """One subscriber: reads, and tells after each `AT_ONCE` messages."""
    context = zmq.Context()
    told = context.socket(zmq.PUSH)
    told.connect(f"tcp://127.0.0.1:{acknowledge}")
    read: Callable[[], Any]
    if kind == "redis":
        pubsub: Any = redis.Redis(port=port).pubsub()  # type: ignore[no-untyped-call]
        pubsub.psubscribe("*")
        pubsub.get_message(timeout=5)
        read = lambda: pubsub.get_message(timeout=60)  # noqa: E731
    else:
        hears = context.socket(zmq.SUB)
        hears.setsockopt(zmq.RCVHWM, 0)
        hears.setsockopt(zmq.SUBSCRIBE, b"")
        hears.connect(f"tcp://127.0.0.1:{port}")
        read = hears.recv_multipart
    told.send(b"here")
    count = 0
    while True:
        read()
        count += 1
        if count % AT_ONCE == 0:
            told.send(b"")


def batches(commits: int) -> Iterator[list[list[bytes]]]:
    """The frames of each commit, as they are published."""
    log_end = LogEnd()
    for number in range(commits):
        events = commit(number)
        told = log_end.advance(events)
        yield [message for event in events for message in announced("5a17c0de", event)] + [heads("5a17c0de", told)]


def measure(kind: str, commits: int, redis_port: int) -> float:
    """Events a second until all eight have them."""
    context = zmq.Context()
    acknowledged = context.socket(zmq.PULL)
    ack_port = acknowledged.bind_to_random_port("tcp://127.0.0.1")
    events, port = publisher(context, "127.0.0.1", 0)
    command = [sys.executable, __file__, "--listen", kind, str(redis_port if kind == "redis" else port), str(ack_port)]
    listeners = [subprocess.Popen(command) for _ in range(SUBSCRIBERS)]
    sent = passed = 0

    def wait_for_all() -> None:
        nonlocal passed
        while sent // AT_ONCE * SUBSCRIBERS > passed:
            acknowledged.recv()
            passed += 1

    try:
        for _ in range(SUBSCRIBERS):
            acknowledged.recv()
        there = 0
        while kind != "redis" and there < 1:  # an XPUB tells of the first subscription only
            there += events.poll(1000)
        time.sleep(1.0)
        made = list(batches(commits)) if kind != "ours" else []
        ours = Publisher(events, LogTail())
        lead = SimpleNamespace(incarnation="5a17c0de")
        dispatch: Any = SimpleNamespace(lead=lead, log_end=LogEnd(), events=[])
        prepared = [commit(number) for number in range(commits)]
        client = redis.Redis(port=redis_port)
        begun = time.perf_counter()
        for number in range(commits):
            if kind == "ours":
                dispatch.events = prepared[number]
                ours.turn(0.0, dispatch, dict)
                sent += COMMIT + COMMIT // ONE_IN + 1
            elif kind == "bare":
                for message in made[number]:
                    events.send_multipart(message, zmq.NOBLOCK, copy=True)
                sent += len(made[number])
            else:
                with client.pipeline(transaction=False) as pipe:
                    for topic, _, body in made[number]:
                        pipe.publish(topic.decode(), body)
                    pipe.execute()
                sent += len(made[number])
            wait_for_all()
        return commits * COMMIT / (time.perf_counter() - begun)
    finally:
        for listener in listeners:
            listener.kill()
            listener.wait()
        context.destroy(0)


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    require(disk_mib=200)
    rounds, commits = (1, 50) if quick else (5, 200)
    size = sum(len(frame) for batch in batches(1) for message in batch for frame in message)
    print(f"world: {os.cpu_count()} cores, {SUBSCRIBERS} subscribers, {commits} commits of {COMMIT}, {rounds} rounds")
    figures: dict[str, list[float]] = {"ours": [], "bare": [], "redis": []}
    with tempfile.TemporaryDirectory() as name, server(Path(name, "server")) as port:
        for number in range(rounds):
            for kind in ("ours", "bare", "redis") if number % 2 else ("bare", "ours", "redis"):
                figures[kind].append(measure(kind, commits, port))
    medians = {kind: statistics.median(values) for kind, values in figures.items()}
    megabytes = size / COMMIT / 1e6
    for kind, words in (("ours", "the publisher"), ("bare", "a bare PUB socket"), ("redis", "Redis pub/sub")):
        each = " ".join(f"{value:.0f}" for value in figures[kind])
        print(f"{words:20}{medians[kind]:9.0f} events/s {medians[kind] * megabytes:7.1f} MB/s to each   {each}")
    print(
        json.dumps(
            {
                "events_per_s": round(medians["ours"]),
                "mb_per_s": round(medians["ours"] * megabytes, 1),
                "bare_per_s": round(medians["bare"]),
                "redis_per_s": round(medians["redis"]),
                "share_of_bare": round(medians["ours"] / medians["bare"], 2),
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--listen"]:
        listen(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
