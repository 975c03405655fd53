"""A worker whose jobs cost nothing: the real `Session` on real sockets, with no threads and no service.

usage: noop_worker.py NAME HOST:PORT[,HOST:PORT] [ROOM] [MILLISECONDS]     ends with the QUIT of a master

A job takes no time, or so many milliseconds; then the first job of each epoch is told on standard output as
"EPOCH SECONDS", by the machine's monotonic clock, which is the same for every process.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections import deque

import zmq

from protocol import messages as wire
from protocol.errors import MalformedError
from protocol.transport.sockets import dealer
from worker.session import LeaveCrawl, Session, StartJob

ROOM = 256
PATIENCE_S = 0.1


class NoopWorker:
    """One worker and its masters. `job_s` is how long a job takes."""

    def __init__(self, name: str, addresses: list[str], room: int, job_s: float) -> None:
        self._run, self._addresses, self._job_s = secrets.token_hex(8), addresses, job_s
        callers = [wire.Caller(operation, f"address:{name}", "noop") for operation in "TFAU"]
        self._keeping = Session(name, self._run, "twitter", list("TFAU"), room, callers, len(addresses))
        report = wire.BudgetReport(f"address:{name}", "noop", -1, 0, 0, 0)
        now = time.monotonic()
        self._keeping.budgets.hear(now, report, now)
        self._begun: deque[tuple[float, wire.Assignment]] = deque()
        self._told = 0

    def run(self) -> None:
        """Work until a master says QUIT."""
        with zmq.Context() as context:
            poller = zmq.Poller()
            sockets = [dealer(context, one, self._run.encode(), queueing=False) for one in self._addresses]
            for one in sockets:
                poller.register(one, zmq.POLLIN)
            try:
                while self._turn(poller, sockets):
                    pass
            finally:
                for one in sockets:
                    one.close(0)

    def _turn(self, poller: zmq.Poller, sockets: list[zmq.Socket[bytes]]) -> bool:
        """Returns whether to go on."""
        now = time.monotonic()
        self._end_jobs(now)
        self._keeping.tick(now)
        self._send(sockets)
        left_s = min(PATIENCE_S, self._begun[0][0] - now) if self._begun else PATIENCE_S
        if not poller.poll(max(0, int(left_s * 1000 + 0.999))):
            return True
        for master, one in enumerate(sockets):
            self._read(master, one)
        orders, self._keeping.orders = self._keeping.orders, []
        now = time.monotonic()
        for order in orders:
            if isinstance(order, LeaveCrawl):
                return False
            if isinstance(order, StartJob):
                self._begun.append((now + self._job_s, order.job))
        return True

    def _end_jobs(self, now: float) -> None:
        while self._begun and self._begun[0][0] <= now:
            job = self._begun.popleft()[1]
            end = wire.End(job.token, wire.DONE, job.steps + 1, 200, "complete", [], 0, "", stored=1)
            self._keeping.ended(now, end)

    def _send(self, sockets: list[zmq.Socket[bytes]]) -> None:
        for master, message in self._keeping.outbox:
            try:
                sockets[master].send_multipart(wire.encode(message), zmq.NOBLOCK)
            except zmq.Again:
                self._keeping.not_sent(master, message)
        self._keeping.outbox = []

    def _read(self, master: int, one: zmq.Socket[bytes]) -> None:
        now = time.monotonic()
        while True:
            try:
                message = wire.decode(one.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            except MalformedError as error:
                sys.exit(str(error))
            self._keeping.message(now, master, message)
            if self._job_s and isinstance(message, wire.JobGiven) and message.epoch > self._told:
                self._told = message.epoch
                print(self._told, now, flush=True)


def main(words: list[str]) -> None:
    room = int(words[2]) if len(words) > 2 else ROOM
    job_ms = float(words[3]) if len(words) > 3 else 0.0
    NoopWorker(words[0], words[1].split(","), room, job_ms / 1000).run()


if __name__ == "__main__":
    main(sys.argv[1:])
