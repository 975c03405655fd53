"""The worker's loop: one thread that owns the sockets, and drives `worker.session` with frames, reports and the clock.

    at work ──SIGTERM or Ctrl-C──▶ leaving: current pages are finished, jobs go back ──committed, or in vain──▶ BYE
       │                                                                                        a second signal ──▶ BYE
       └──QUIT, or a master that refuses this worker──▶ BYE

Heartbeats come from here, so that a busy job cannot fake a death. A send that would block is dropped: the session sends
again whatever matters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import zmq

from protocol import messages as wire
from protocol.errors import MalformedError, TmaticError
from protocol.logs import fields
from protocol.mailbox import Mailbox
from protocol.stopping import SIGNALLED, listening
from protocol.transport.refusals import Refusals
from worker.session import LeaveCrawl, Session
from worker.threads import Threads
from worker.work import RequestAnswered, Told

log = logging.getLogger(__name__)

FRAMES_A_TURN = 1000
GREETING_S = 0.05
"""How often a connection to an unconnected master is tried."""
LAST_PAGES_S = 5.0
LAST_COMMITS_S = 3.0
SWEEP_S = 2.0


class DismissedError(TmaticError):
    """This worker must end: a master refuses it, or none is left."""


class WorkerLoop:
    """Runs one worker. `sockets` are those to its masters, in the session's order; `ledger_of` tells to which ledger a
    crawl of its dataset belongs."""

    def __init__(
        self,
        session: Session,
        sockets: Sequence[zmq.Socket[bytes]],
        refusals: Sequence[Refusals],
        threads: Threads,
        mailbox: Mailbox[Told],
        ledger_of: Callable[[str], str | None],
        *,
        die_with_master: bool = False,
    ) -> None:
        self._ledger_of, self._die_with_master = ledger_of, die_with_master
        self._session, self._sockets, self._threads, self._mailbox = session, sockets, threads, mailbox
        self._refusals, self._refused = refusals, [set[str]() for _ in refusals]
        self._poller = zmq.Poller()
        for one in sockets:
            self._poller.register(one, zmq.POLLIN)
        self._poller.register(mailbox.fileno(), zmq.POLLIN)
        self._signals: list[int] = []
        self._leaving_until: float | None = None
        self._last_commits = False
        self._tick_at = 0.0
        self._led = False
        self.malformed = [0] * len(sockets)

    def run(self) -> int:
        """Run until the worker must leave; returns the exit code. Raises DismissedError when all masters refuse it."""
        with listening(self._signals.append, wakes=self._mailbox.writing.fileno()):
            try:
                while (code := self._turn()) is None:
                    pass
            finally:
                self._session.bye()
                self._send()
                self._threads.stop(SWEEP_S)
        return code

    def _turn(self) -> int | None:
        """One turn; an exit code ends the loop."""
        self._poller.poll(self._patience_ms())
        now = time.monotonic()
        for master, one in enumerate(self._sockets):
            self._read(now, master, one)
        self._take_reports(now)
        left = self._carry_out()
        if now >= self._tick_at:
            self._session.tick(now)
            self._tell_of_refusals(now)
            self._tick_at = now + (self._session.heartbeat / 4 if self._session.leader is not None else GREETING_S)
        self._session.flush(now)
        self._send()
        self._tell_of_leader(now)
        if left is not None:
            return left
        return self._leave(now) if self._signals else None

    def _patience_ms(self) -> int:
        return max(0, int((self._tick_at - time.monotonic()) * 1000) + 1)

    # Masters.

    def _read(self, now: float, master: int, one: zmq.Socket[bytes]) -> None:
        for _ in range(FRAMES_A_TURN):
            try:
                frames = one.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = wire.decode(frames)
            except MalformedError as error:
                self.malformed[master] += 1
                if self.malformed[master] == 1:
                    log.warning("a frame of the master was not understood", extra=fields(master=master, why=error))
                continue
            if isinstance(message, wire.Welcome):
                self._check_dataset(message)
            self._session.message(now, master, message)

    def _check_dataset(self, welcome: wire.Welcome) -> None:
        """Check that the worker stores where the crawl reads. Raises DismissedError."""
        ours = self._ledger_of(welcome.crawl)
        if welcome.ledger and ours != welcome.ledger:
            raise DismissedError(
                f"the output directory of this worker is not that of crawl {welcome.crawl!r}: "
                "give both the same --output"
            )

    def _send(self) -> None:
        messages, self._session.outbox = self._session.outbox, []
        for master, message in messages:
            try:
                self._sockets[master].send_multipart(wire.encode(message), zmq.NOBLOCK)
            except zmq.Again:
                self._session.not_sent(master, message)

    def _tell_of_leader(self, now: float) -> None:
        led = self._session.may_ask(now)
        if led and not self._led:
            log.info("a master leads", extra=fields(crawl=self._session.crawl, epoch=self._session.epoch))
        elif self._led and not led:
            if self._die_with_master:
                raise DismissedError("no master is heard any more, and this worker was told to die with it")
            log.warning("no master is heard: jobs in hand are kept, and the service is left alone")
        self._led = led

    def _tell_of_refusals(self, now: float) -> None:
        """Why there is no connection to a master, as text, when that is new and no other master leads."""
        for master, refusals in enumerate(self._refusals):
            words = refusals.look(now)
            if words and words not in self._refused[master] and not self._session.may_ask(now):
                self._refused[master].add(words)
                log.warning(words)

    # Threads.

    def _take_reports(self, now: float) -> None:
        for told in self._mailbox.take_all():
            match told:
                case RequestAnswered(token, spent):
                    self._session.spent(token, spent)
                case wire.Step():
                    self._session.stored(now, told)
                case wire.End():
                    self._session.ended(now, told)

    def _carry_out(self) -> int | None:
        """Execute the session's orders; an exit code when the order is to leave."""
        orders, self._session.orders = self._session.orders, []
        for order in orders:
            if not isinstance(order, LeaveCrawl):
                self._threads.carry_out(order)
            elif order.fault:
                raise DismissedError(f"the master will not have this worker: {order.reason}")
            else:
                log.info("told to leave", extra=fields(reason=order.reason))
                return 0
        return None

    # Leaving.

    def _leave(self, now: float) -> int | None:
        if len(self._signals) > 1:
            log.info("told a second time to stop: leaving now", extra=fields(jobs=len(self._session.leases)))
            return SIGNALLED + self._signals[-1]
        if self._leaving_until is None:
            log.info("told to stop: pages under way are finished", extra=fields(jobs=len(self._session.leases)))
            self._leaving_until = now + LAST_PAGES_S
            self._session.retire(now)
            self._threads.leave()
            self._send()
        elif not self._last_commits and (not self._threads.busy or now >= self._leaving_until):
            self._last_commits = True
            self._leaving_until = now + LAST_COMMITS_S
        if (not self._threads.busy and not self._session.leases) or (self._last_commits and now >= self._leaving_until):
            log.info("leaving", extra=fields(jobs_not_given_back=len(self._session.leases)))
            return 0
        self._tick_at = min(self._tick_at, now + GREETING_S)
        return None
