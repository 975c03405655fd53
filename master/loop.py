"""The master's loop: the socket, the ledger's thread and the clock around the decisions of `master.dispatch`.

    the lead is sought ──taken──▶ leading ──the ledger is away, or another wrote──▶ sought again, in words
                                     │
                                     └── nothing is left to do, or it was told to stop ──▶ the end

The ledger is asked one thing at a time, in its own thread; the loop waits for frames, answers and signals at once, and
never for one of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import time
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any

import zmq

from master.dispatch import Dispatch
from master.intake import Ahead
from master.leading import Leadership, Leading, LedElsewhereError
from master.ledger_thread import BugError, LedgerThread
from master.loaded import InconsistentError
from master.summary import Rates, document, line
from master.terms import Terms
from protocol import messages as wire
from protocol.errors import LedgerError, MalformedError, TmaticError
from protocol.logs import fields
from storage.ledger import Reply

log = logging.getLogger(__name__)

FRAMES_A_TURN = 1000
"""Frames that are read before the next commit: more would keep those who wait for an answer waiting."""
SUMMARY_S = 5.0
AGAIN_S = 0.5
"""How long the loop rests after the ledger did not serve."""
SAID_AGAIN_S = 10.0
"""How often the same trouble is told again."""
LONGEST_WAIT_S = 0.1
FAREWELL_S = 2.0


class Ending(Enum):
    """Why the loop came to its end."""

    DONE = "done"
    DRAINED = "drained"
    STOPPED = "stopped"


class Loop:
    """Runs one master until its crawl is done or it is told to stop."""

    def __init__(
        self,
        router: zmq.Socket[bytes],
        leading: Leading,
        terms: Terms,
        *,
        told: Callable[[Dispatch], None] | None = None,
    ) -> None:
        self._router, self._leading, self._terms, self._told = router, leading, terms, told
        self._thread = LedgerThread()
        self._answered: Callable[[Any], None] = lambda _: None
        self.leadership: Leadership | None = None
        self.dispatch: Dispatch | None = None
        self.totals: dict[str, int] = {}
        self.rates = Rates()
        self._seek_at = 0.0
        self._summary_at = time.monotonic() + SUMMARY_S
        self._totals_wanted = False
        self._reported: set[bytes] = set()
        self._trouble = ("", 0.0)
        self._stopping = False
        self._wakes, self._signals = socket.socketpair()
        for end in (self._wakes, self._signals):
            end.setblocking(False)

    def run(self) -> Ending:
        """To the end. Raises LedgerError when another master keeps the lead, UsageError when the crawl is refused."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._thread.fileno(), zmq.POLLIN)
        poller.register(self._wakes.fileno(), zmq.POLLIN)
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGTERM, signal.SIGINT)}
        signal.set_wakeup_fd(self._signals.fileno(), warn_on_full_buffer=False)
        try:
            while True:
                ready = dict(poller.poll(self._patience_ms()))
                if self._wakes.fileno() in ready:
                    self._wakes.recv(4096)
                if self._thread.fileno() in ready:
                    self._take_answer()
                if self._router in ready:
                    self._read_frames()
                ending = self._turn()
                if ending is not None:
                    return ending
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Give the lead back, and let the ledger's thread end."""
        leadership = self.leadership
        if leadership is not None and not self._thread.busy:
            lead = leadership.lead
            given_back = type(lead)(lead.incarnation, leadership.beat, lead.epoch, lead.ledger_id, lead.name)
            self._ask(lambda: self._leading.opened.ledger.release(given_back), lambda _: None)
        self._thread.close(AGAIN_S)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True

    def _patience_ms(self) -> int:
        if self.dispatch is not None and not self._thread.busy and self.dispatch.eager:
            return 0
        return int(LONGEST_WAIT_S * 1000)

    # One turn.

    def _turn(self) -> Ending | None:
        now = time.monotonic()
        if self._stopping and not self._thread.busy:
            log.info("told to stop: what is in the workers' hands stays there for the next master")
            return Ending.STOPPED
        if self.dispatch is None:
            if not self._thread.busy and now >= self._seek_at:
                self._ask(self._leading.take, self._took)
            return None
        self.dispatch.tick(now)
        self._send()
        if self._thread.busy:
            return None
        if self.dispatch.idle:
            return Ending.DRAINED if self.dispatch.draining else Ending.DONE
        if now >= self._summary_at:
            self._summary_at = now + SUMMARY_S
            self._ask(self._leading.opened.ledger.totals, self._summed_up)
            return None
        self._commit(now)
        return None

    def _commit(self, now: float) -> None:
        assert self.dispatch is not None and self.leadership is not None
        batch = self.dispatch.next_batch(now)
        read_ahead = self.dispatch.intake.fill if isinstance(self.dispatch.intake, Ahead) else None
        if batch is None:
            if read_ahead is not None:
                self._ask(read_ahead, lambda _: None)
            return
        ledger, lead, beat = self._leading.opened.ledger, self.leadership.lead, self.leadership.beat
        queues, most, plan = self.dispatch.queues, self._leading.max_users, self.leadership.plan
        newcomers = plan.widening_family if plan.widening else ""

        def commit() -> Reply:
            reply = ledger.commit(lead.incarnation, beat, batch, queues, max_users=most, newcomers=newcomers)
            if read_ahead is not None:
                read_ahead()
            return reply

        self._ask(commit, self._committed)

    # What the ledger answers.

    def _ask(self, question: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        self._answered = answered
        self._thread.ask(question)

    def _take_answer(self) -> None:
        try:
            self._answered(self._thread.answer())
        except BugError as bug:
            raise bug.error from bug
        except LedElsewhereError:
            raise
        except InconsistentError as error:
            self._lost_the_lead(error, 0.0)
        except LedgerError as error:
            self._lost_the_lead(error, AGAIN_S)

    def _took(self, leadership: Leadership) -> None:
        if self._trouble[0]:
            log.info("the ledger serves again")
            self._trouble = ("", 0.0)
        before = self._before
        self.leadership = leadership
        self.dispatch = self._leading.dispatch(leadership, self._terms, before)
        self._send()
        if self._told is not None:
            self._told(self.dispatch)

    _before: Dispatch | None = None

    def _committed(self, reply: Reply) -> None:
        assert self.dispatch is not None and self.leadership is not None
        self.leadership.beat += 1
        self.dispatch.committed(time.monotonic(), reply)
        self._send()

    def _summed_up(self, totals: dict[str, int]) -> None:
        self.totals = totals
        self.rates.look(totals)
        log.info(line(self.state()))

    def _lost_the_lead(self, error: TmaticError, rest_s: float) -> None:
        now = time.monotonic()
        if self._trouble[0] != str(error) or now - self._trouble[1] > SAID_AGAIN_S:
            self._trouble = (str(error), now)
            log.warning(f"{error}; workers keep what they hold until it is well again")
        if self.dispatch is not None:
            self._before = self.dispatch
        self.dispatch = self.leadership = None
        self._seek_at = now + rest_s

    # The socket.

    def _read_frames(self) -> None:
        for _ in range(FRAMES_A_TURN):
            try:
                peer, *frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = wire.decode(frames)
            except MalformedError as error:
                self._malformed(peer, frames, error)
                continue
            if isinstance(message, wire.Status):
                self._asked(peer, message.question)
            elif self.dispatch is not None:
                self.dispatch.receive(time.monotonic(), peer, message)

    def _malformed(self, peer: bytes, frames: list[bytes], error: MalformedError) -> None:
        """Counted, told once a peer, dropped. A worker of another version is told so."""
        if self.dispatch is not None:
            self.dispatch.counted["malformed frames"] = self.dispatch.counted.get("malformed frames", 0) + 1
        if peer not in self._reported and len(self._reported) < FRAMES_A_TURN:
            self._reported.add(peer)
            log.warning("a frame was not understood", extra=fields(peer=peer.hex()[:32], why=str(error)))
        if len(frames) == 3 and frames[1] == wire.TYPES[wire.Hello] and frames[0] != wire.VERSION:
            self._transmit(peer, wire.Refused("version", f"this master speaks version {wire.VERSION[0]}"))

    def _asked(self, peer: bytes, question: str) -> None:
        if question == "drain" and self.dispatch is not None:
            log.info("told to drain: nothing more is handed out")
            self.dispatch.drain()
        if question in ("status", "drain"):
            self._transmit(peer, wire.Report(json.dumps(self.state())))
        else:
            self._transmit(peer, wire.Refused("command", f"there is no question {question[:40]!r}"))

    def state(self) -> dict[str, Any]:
        """The document for tools."""
        if self.dispatch is None or self.leadership is None:
            return {"crawl": self._terms.crawl, "state": "waiting for the ledger", "trouble": self._trouble[0]}
        plan = self.leadership.plan.remembered()
        return document(self.dispatch, self.totals, self.rates, self._terms.crawl, plan)

    def _send(self) -> None:
        assert self.dispatch is not None
        notices, self.dispatch.notices = self.dispatch.notices, []
        for notice in notices:
            log.warning(notice)
        while self.dispatch.outbox:
            messages, self.dispatch.outbox = self.dispatch.outbox, []
            for peer, message in messages:
                if not self._transmit(peer, message):
                    self.dispatch.unreachable(time.monotonic(), peer)

    def _transmit(self, peer: bytes, message: wire.Message) -> bool:
        """Send, or drop: whoever misses it asks again. False when nobody is connected under that routing id."""
        try:
            self._router.send_multipart([peer, *wire.encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            return True
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def farewell(self, reason: str) -> None:
        """Tell every worker to leave, also one that only comes now; wait a moment until those that are known did."""
        if self.dispatch is None:
            return
        staying = set(self.dispatch.roster.workers)
        self.dispatch.quit(reason)
        self._send()
        leave = wire.Quit(self.dispatch.lead.epoch, reason)
        deadline = time.monotonic() + FAREWELL_S
        while staying and (left := deadline - time.monotonic()) > 0:
            if not self._router.poll(int(left * 1000) + 1):
                return
            peer, *frames = self._router.recv_multipart()
            with contextlib.suppress(MalformedError):
                if isinstance(wire.decode(frames), wire.Bye) or not self._transmit(peer, leave):
                    staying.discard(peer)
