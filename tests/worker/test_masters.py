"""A worker process and a master that the test plays, frame by frame."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import zmq

from protocol import messages as wire
from protocol.errors import MalformedError
from protocol.transport.sockets import router
from tests.waiting import until
from tests.worker.running import Crawl, Process
from tests.worker.scripted import Reply, Scripted
from worker.held_leases import HeldState
from worker.session import ForgetJob, LeaveCrawl, Session, StartJob

T = TypeVar("T", wire.Hello, wire.Heartbeat, wire.Result, wire.Bye)

WITHIN_S = 60.0
WELCOME = wire.Welcome("incarnation", 1, "main", 50, "")


@dataclass
class Master:
    """The test's side of the wire."""

    socket: zmq.Socket[bytes]
    port: int
    peer: bytes = b""

    def hears(self, kind: type[T], within_s: float = WITHIN_S) -> T:
        """The next message of a kind; others are passed over."""
        deadline = time.monotonic() + within_s
        while self.socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            self.peer, *frames = self.socket.recv_multipart()
            message = wire.decode(frames)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} within {within_s} s")

    def says(self, message: wire.Message) -> None:
        self.socket.send_multipart([self.peer, *wire.encode(message)])


@contextmanager
def master() -> Iterator[Master]:
    with zmq.Context() as context:
        socket, port = router(context, "127.0.0.1", 0)
        try:
            yield Master(socket, port)
        finally:
            socket.close(0)


@contextmanager
def worker(folder: Path, port: int, url: str = "http://127.0.0.1:9") -> Iterator[Process]:
    running = Crawl(folder, url, port)
    try:
        yield running.worker("w1", "--timeout-factor-s", "5")
    finally:
        running.stop()


def a_job(user: str = "12", granted: int = 4, who: str = "") -> wire.JobGiven:
    return wire.JobGiven(1, [wire.Assignment(f"t{user}", "T", user, 0, 0, 0, "", [], who, granted)])


def test_a_worker_greets_and_leaves_when_told_to(tmp_path: Path) -> None:
    with master() as led, worker(tmp_path, led.port) as process:
        hello = led.hears(wire.Hello)
        assert (hello.name, hello.service, hello.operations, hello.room) == ("w1", "twitter", list("TFAU"), 8)
        assert {caller.operation for caller in hello.callers} == set("TFAU")
        led.says(WELCOME)
        led.hears(wire.Heartbeat)
        led.says(wire.Quit(1, "the crawl is over"))
        led.hears(wire.Bye)
        assert process.wait(WITHIN_S) == 0


@pytest.mark.parametrize("code", ["full", "service", "version"])
def test_a_master_that_will_not_have_it_is_quoted(tmp_path: Path, code: str) -> None:
    with master() as led, worker(tmp_path, led.port) as process:
        led.hears(wire.Hello)
        led.says(wire.Refused(code, "not\nyou"))
        assert process.wait(WITHIN_S) == 1
        assert process.said().splitlines()[-1].endswith("will not have this worker: not you")


def test_frames_that_are_none_are_told_once_and_change_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    with master() as led, worker(tmp_path, led.port) as process:
        led.hears(wire.Hello)
        led.says(WELCOME)
        sound = [wire.encode(one) for one in (WELCOME, a_job(), wire.Committed(1, []), wire.Drain(1))]
        for _ in range(2_000):
            frames = [bytearray(frame) for frame in chance.choice(sound)]
            for _ in range(chance.randint(1, 4)):
                frame = chance.choice(frames)
                if frame:
                    frame[chance.randrange(len(frame))] = chance.randrange(256)
            damaged = [bytes(frame) for frame in frames]
            if _is_none(damaged):
                led.socket.send_multipart([led.peer, *damaged])
            led.socket.send_multipart([led.peer, *(chance.randbytes(chance.randint(0, 60)) for _ in range(3))])
        led.socket.send_multipart([led.peer])
        for _ in range(3):
            led.hears(wire.Heartbeat)
        led.says(wire.Quit(1, "enough"))
        assert process.wait(WITHIN_S) == 0
        assert process.said().count("was not understood") == 1


def _is_none(frames: list[bytes]) -> bool:
    try:
        wire.decode(frames)
    except MalformedError:
        return True
    return False


@pytest.mark.slow
def test_heartbeats_go_on_while_a_job_waits_for_its_service(tmp_path: Path, service: Scripted) -> None:
    service.answers(Reply(wait_s=2.0))
    with master() as led, worker(tmp_path, led.port, service.url) as process:
        hello = led.hears(wire.Hello)
        led.says(WELCOME)
        led.says(a_job(who=hello.callers[0].who))
        until(lambda: len(service.asked) == 1, WITHIN_S)
        for _ in range(5):
            beat = led.hears(wire.Heartbeat, 1.0)
        assert [item.token for item in beat.held] == ["t12"]
        result = led.hears(wire.Result)
        assert (result.ends[0].how, result.ends[0].outcome) == (wire.DONE, "complete")
        again = led.hears(wire.Result)
        assert again.ends == result.ends, "an end is sent again until it is committed"
        led.says(wire.Committed(1, [wire.Verdict("t12", 1, wire.ACCEPTED, 4)]))
        until(lambda: not led.hears(wire.Heartbeat).held, WITHIN_S)
        led.says(wire.Quit(1, "enough"))
        assert process.wait(WITHIN_S) == 0


# The decisions that a real master's words lead to.


def keeping() -> Session:
    return Session("w1", "run1", "twitter", ["T"], 4, [])


def test_the_masters_heartbeat_and_crawl_are_taken_over() -> None:
    decided = keeping()
    decided.message(0.0, 0, wire.Welcome("i", 1, "birds", 20_000, ""))
    assert (decided.crawl, decided.heartbeat, decided.silence) == ("birds", 20.0, 100.0)
    decided.message(0.0, 0, wire.Welcome("i", 1, "birds", (1 << 53) - 1, ""))
    assert decided.heartbeat == 3600.0


def test_a_job_is_not_idle_while_nobody_leads() -> None:
    decided = keeping()
    decided.message(0.0, 0, WELCOME)
    decided.message(0.0, 0, a_job())
    decided.outbox.clear()
    decided.message(900.0, 0, wire.Committed(1, []))
    decided.tick(901.0)
    [beat] = [message for _, message in decided.outbox if isinstance(message, wire.Heartbeat)]
    assert beat.held[0].idle_ms == 1000


def test_a_worker_that_retires_asks_for_no_more_jobs_at_once() -> None:
    decided = keeping()
    decided.message(0.0, 0, WELCOME)
    decided.outbox.clear()
    decided.retire(0.0)
    [(_, beat)] = decided.outbox
    assert isinstance(beat, wire.Heartbeat)
    assert beat.room == 0


def test_a_greeting_that_could_not_be_sent_is_sent_at_the_next_tick() -> None:
    decided = keeping()
    decided.tick(0.0)
    [(master_number, hello)] = decided.outbox
    decided.outbox.clear()
    decided.tick(0.01)
    assert not decided.outbox
    decided.not_sent(master_number, hello)
    decided.tick(0.02)
    assert isinstance(decided.outbox[0][1], wire.Hello)


def test_an_end_is_forgotten_only_when_its_commit_is_named() -> None:
    decided = keeping()
    decided.message(0.0, 0, WELCOME)
    decided.message(0.0, 0, a_job())
    assert isinstance(decided.orders.pop(), StartJob)
    decided.ended(1.0, wire.End("t12", wire.DONE, 3, 0, "complete", [], 1, ""))
    decided.message(1.0, 0, wire.Committed(1, [wire.Verdict("t12", 2, wire.ACCEPTED, 4)]))
    assert decided.leases["t12"].state is HeldState.ENDING
    decided.message(1.0, 0, wire.Committed(1, [wire.Verdict("t12", 3, wire.ACCEPTED, 4)]))
    decided.message(2.0, 0, wire.Refused("full", "no room"))
    forget, leave = decided.orders
    assert isinstance(forget, ForgetJob)
    assert leave == LeaveCrawl("no room", fault=True)


def test_ends_that_lead_to_many_accounts_travel_in_messages_that_a_master_reads() -> None:
    decided = keeping()
    decided.message(0.0, 0, WELCOME)
    many = [str(10**31 - 1 - place) for place in range(wire.MAX_FOUND)]
    ends = [wire.End(f"t{place}", wire.DONE, 1, 0, "complete", many, 0, "") for place in range(4)]
    for end in ends:
        job = wire.Assignment(end.token, "T", "12", 0, 0, 0, "", [], "address:1", 4)
        decided.message(0.0, 0, wire.JobGiven(1, [job]))
        decided.ended(0.0, end)
    decided.outbox.clear()
    decided.flush(1.0)
    heard = [wire.decode(wire.encode(message)) for _, message in decided.outbox]
    assert [end for result in heard if isinstance(result, wire.Result) for end in result.ends] == ends
