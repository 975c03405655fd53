"""The master's loop: the sockets, the ledger's thread and the clock around the decisions of `master.member`.

Questions to the ledger are asked in order, in its own thread; the loop waits for frames, answers and signals together,
and never for one of them. Beats go on until the lead is released, also while the manifest is written.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import zmq

from master.admin.requests import AdminRequests
from master.admin.status import Rates, document, line, place
from master.dispatch.dispatcher import Dispatch
from master.dropped_frames import DroppedFrames
from master.events.log_reader import LogReader
from master.events.publisher import Publisher
from master.finishing import Finishing
from master.frontier.seed_files import ReadAhead
from master.leadership.election import Role
from master.leadership.ledger_calls import Commit, Ending, GiveBack, Observe, Question, Take
from master.leadership.takeover import Takeover
from master.ledger_health import WELL_AGAIN, HealthMessages
from master.ledger_thread import BugError, LedgerThread
from master.member import Member
from protocol import messages as wire
from protocol.errors import LedgerError, MalformedError
from protocol.logs import fields
from protocol.repeated_warnings import RepeatedWarnings
from protocol.stopping import SIGNALLED, listening
from protocol.transport.gatekeeper import Gatekeeper, may_say
from protocol.transport.refusals import Refusals
from storage.ledger.ledger import Reply

log = logging.getLogger(__name__)

FRAMES_A_TURN = 1000
"""Frames that are read before the next commit: more would delay the answers to the others."""
SUMMARY_S = 5.0
MAX_WAIT_S = 0.1
MAX_WAIT_PAIRED_S = 0.02
MORE, LAST = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)
"""Flags of frames as plain numbers: `send_multipart` joins enums for each frame, which is slower than sending it."""
LAST_QUESTION_S = 0.5
"""How long a master that leaves waits for the answer to its last question."""
FAREWELL_S = 2.0


class MasterLoop:
    """Runs one master until its crawl is done or it must stop.

    `finish` writes what a finished crawl leaves beside its data; it runs in a thread of its own.
    """

    def __init__(
        self,
        router: zmq.Socket[bytes],
        member: Member,
        leading: Takeover,
        *,
        gatekeeper: Gatekeeper,
        publisher: Publisher,
        reader: LogReader,
        peer: zmq.Socket[bytes] | None = None,
        refusals: Refusals | None = None,
        finish: Callable[[MasterLoop], None] = lambda _: None,
    ) -> None:
        self._gatekeeper, self._refusals, self._publisher, self._reader = gatekeeper, refusals, publisher, reader
        self._inquiries = AdminRequests(member, reader, self.state, self.where)
        self._complaints, self._health_messages = RepeatedWarnings(), HealthMessages()
        self._router, self._peer, self.member, self._leading = router, peer, member, leading
        self._thread = LedgerThread()
        self.totals: dict[str, int] = {}
        self.events_at = ""
        """The address of the events, for the answer to STATUS."""
        self.rates = Rates()
        self._summary_at = time.monotonic() + SUMMARY_S
        self._dropped_frames = DroppedFrames()
        self._role = Role.STANDBY
        self._finishing = Finishing(lambda: finish(self))
        self._stopping = self._waiting = False
        self.cut_by = 0
        """The signal that stopped this master before all was done."""
        self._wakes, self._signals = socket.socketpair()
        for end in (self._wakes, self._signals):
            end.setblocking(False)

    @property
    def dispatch(self) -> Dispatch | None:
        """The decisions of the present leadership, None while this master does not lead."""
        return self.member.dispatch

    def run(self) -> Ending:
        """Run to the end. Raises LedgerError if another master keeps the lead, UsageError if the crawl is refused."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._thread.fileno(), zmq.POLLIN)
        poller.register(self._wakes.fileno(), zmq.POLLIN)
        poller.register(self._reader.fileno(), zmq.POLLIN)
        with listening(self._signalled, wakes=self._signals.fileno()):
            while True:
                ready = dict(poller.poll(self._patience_ms()))
                if self._wakes.fileno() in ready:
                    self._wakes.recv(4096)
                if self._thread.fileno() in ready:
                    self._take_answer()
                if self._router in ready:
                    self._read_frames()
                for asker, answer in self._inquiries.answers(self._reader.fileno() in ready):
                    self._transmit(asker, answer)
                self._turn()
                if self.member.ending is not None:
                    return self.member.ending

    def close(self) -> None:
        """Release the lead if it is still held, and let the ledger's thread end."""
        leadership = self.member.leadership
        if leadership is not None and self.member.election.role is Role.LEADING and not self._thread.busy:
            lead, beat = leadership.lead, leadership.beat
            self._thread.ask(lambda: self._leading.opened.ledger.release(lead.incarnation, beat), lambda _: None)
        self._thread.close(LAST_QUESTION_S)

    def _signalled(self, number: int) -> None:
        if self._stopping:
            raise SystemExit(SIGNALLED + number)
        self._stopping = True
        self.cut_by = 0 if self.member.finished and self._waiting else number
        self.member.leave(Ending.STOPPED)

    def _patience_ms(self) -> int:
        if not self._thread.busy and self.member.eager:
            return 0
        return int((MAX_WAIT_S if self._peer is None else MAX_WAIT_PAIRED_S) * 1000)

    # One turn.

    def _turn(self) -> None:
        now = time.monotonic()
        if self._refusals is not None and (words := self._refusals.look(now)):
            self._complain(now, words)
        for peer in self._gatekeeper.cut():
            log.info("a key was revoked: what its owner held goes to others", extra=fields(peer=peer.hex()[:32]))
            self.member.cut(peer)
        self.member.tick(now)
        if not self._thread.busy:
            self._ask_next(now)
        elif (further := self.member.further(now)) is not None:
            self._put(now, further, None)
        self._send()  # after the question: the last commit's messages are sent while the ledger does the next
        if self._publisher.watched:
            self._inquiries.look(now)
        self._publisher.turn(now, self.dispatch, self.state)

    def _ask_next(self, now: float) -> None:
        if self.member.finished and not self.member.leaving:
            self._look_after_finish()
        question = self.member.question(now)
        intake = self.dispatch.intake if self.dispatch is not None else None
        read_ahead = intake.fill if isinstance(intake, ReadAhead) else None
        if question is not None:
            self._put(now, question, read_ahead)
        elif read_ahead is not None:
            self._thread.ask(read_ahead, lambda _: None)

    def _put(self, now: float, question: Question, read_ahead: Callable[[], None] | None) -> None:
        ledger = self._leading.opened.ledger
        match question:
            case Observe():
                self._thread.ask(self._leading.observe, self._member_answered)
            case Take():
                self._thread.ask(lambda: self._leading.take(question), self._member_answered)
            case GiveBack(incarnation, beat, ended):
                self._thread.ask(lambda: ledger.release(incarnation, beat, ended=ended), self._member_answered)
            case Commit():
                summary = now >= self._summary_at
                if summary:
                    self._summary_at = now + SUMMARY_S
                self._thread.ask(lambda: self._commit(question, read_ahead, summary), self._committed)

    def _commit(
        self, question: Commit, read_ahead: Callable[[], None] | None, summary: bool
    ) -> tuple[Reply, dict[str, int] | None]:
        """Runs in the ledger's thread."""
        ledger, most = self._leading.opened.ledger, self._leading.opened.settings.max_users
        reply = ledger.commit(
            question.incarnation,
            question.beat,
            question.batch,
            question.queues,
            max_users=most,
            newcomers=question.newcomers,
            passed=question.passed,
        )
        if read_ahead is not None:
            read_ahead()
        return reply, ledger.totals() if summary else None

    def _look_after_finish(self) -> None:
        try:
            written = self._finishing.look(self.member.leadership)
        except LedgerError as error:
            words = f"{error}; what a crawl leaves behind is written when it is well again"
            self._complain(time.monotonic(), words)
            return
        if written and not self._waits_for_readers():
            self.rates.look(self.totals)
            log.info(line(self.state()))
            self.member.leave(Ending.DONE)

    def _waits_for_readers(self) -> bool:
        dispatch = self.dispatch
        if dispatch is None:
            return False
        stay = self._leading.request.stay
        names = dispatch.readers.waited_for(time.monotonic(), dispatch.log_end.sequence)
        if (names or stay) and not self._waiting:
            self._waiting = True
            why = "readers of the log are still behind" if names else "staying until told to stop"
            log.info(f"all is done; {why}", extra=fields(readers=",".join(names)))
        return stay or bool(names)

    # Answers of the ledger.

    def _take_answer(self) -> None:
        try:
            taken, answer = self._thread.answer()
        except BugError as bug:
            raise bug.error from bug
        except LedgerError as error:
            self.member.failed(time.monotonic(), error)
        else:
            taken(answer)
        self._tell_of_role()

    def _member_answered(self, answer: Any) -> None:
        self.member.answered(time.monotonic(), answer)

    def _committed(self, answer: tuple[Reply, dict[str, int] | None]) -> None:
        reply, totals = answer
        self._member_answered(reply)
        if totals is not None:
            self.totals = totals
            self.rates.look(totals)
            if self.dispatch is not None:
                log.info(line(self.state()))

    def _tell_of_role(self) -> None:
        """Log changes: trouble with the ledger, and the role."""
        now = time.monotonic()
        words = self._health_messages.look(now, self.member.health.trouble)
        if words == WELL_AGAIN:
            log.info(words)
        elif words:
            log.warning(f"{words}; workers keep what they hold until it is well again")
        role = self.member.election.role
        if role is not self._role and role in (Role.STANDBY, Role.LEADING, Role.YIELDING, Role.LEAVING):
            before, self._role = self._role, role
            if before in (Role.LEADING, Role.YIELDING) and role is Role.STANDBY:
                log.warning("does not lead any more", extra=fields(why=self.member.election.why))
            elif role is Role.YIELDING:
                log.info("gives the lead away", extra=fields(why=self.member.election.why))

    def _complain(self, now: float, words: str) -> None:
        """Warn of trouble that recurs with each try, unless that was done a moment ago."""
        if self._complaints.is_news(now, words):
            log.warning(words)

    # The sockets.

    def _read_frames(self) -> None:
        for _ in range(FRAMES_A_TURN):
            try:
                peer, role, frames = self._gatekeeper.receive(self._router)
            except zmq.Again:
                return
            if role is None:
                continue
            try:
                message = wire.decode(frames)
            except MalformedError as error:
                self._malformed(peer, frames, error)
                continue
            if self._dropped_frames.unexpected(peer, message):
                continue
            if not may_say(role, message):
                self._transmit(peer, wire.Refused("command", f"a {role.value} may not say that"))
            elif isinstance(message, wire.Status):
                if (answer := self._inquiries.asked(peer, message.question)) is not None:
                    self._transmit(peer, answer)
            elif isinstance(message, wire.Replay):
                self._inquiries.replay(peer, message)
            elif isinstance(message, wire.Passed):
                if self.dispatch is not None:
                    self.dispatch.receive(time.monotonic(), peer, message)
            else:
                self.member.receive(time.monotonic(), peer, message)

    def _malformed(self, peer: bytes, frames: list[bytes], error: MalformedError) -> None:
        """Malformed frames are counted, logged once per peer, and dropped. A worker of another version is notified."""
        self._dropped_frames.malformed(peer, frames, str(error))
        if len(frames) == 3 and frames[1] == wire.TYPES[wire.Hello] and frames[0] != wire.VERSION:
            self._transmit(peer, wire.Refused("version", f"this master speaks version {wire.VERSION[0]}"))

    def where(self) -> dict[str, Any]:
        """The addresses of this crawl's events, for subscribers."""
        member = self.member
        return {"role": member.election.role.value, "events": self.events_at, "ledger": member.ledger_id}

    def state(self, fresh: dict[str, int] | None = None) -> dict[str, Any]:
        """The document for tools; `fresh` are the totals, if they were read just now."""
        self.totals = self.totals if fresh is None else fresh
        member, crawl = self.member, self._leading.policy.crawl
        where = {**place(member, time.monotonic(), staying=self._waiting), "events": self.events_at}
        where["dropped"] = dict(self._dropped_frames.counted)
        if member.dispatch is None or member.leadership is None:
            waiting = member.health.trouble or member.pair is None
            state = "waiting for the ledger" if waiting else "standby"
            return {"crawl": crawl, "state": state, "trouble": member.health.trouble, **where}
        plan = member.leadership.plan.remembered()
        told = document(member.dispatch, self.totals, self.rates, crawl, plan, self._gatekeeper.addresses)
        return {**told, **where, "next": self._inquiries.in_line}

    def _send(self) -> None:
        complaints, self.member.complaints = self.member.complaints, []
        for words in complaints:
            self._complain(time.monotonic(), words)
        news, self.member.news = self.member.news, []
        for words in news:
            log.warning(words)
        to_peer, self.member.to_peer = self.member.to_peer, []
        if self._peer is not None and to_peer:
            with contextlib.suppress(zmq.Again):
                self._peer.send_multipart(wire.encode(to_peer[-1]), zmq.NOBLOCK)
        while self.member.outbox:
            messages, self.member.outbox = self.member.outbox, []
            for peer, message in messages:
                if not self._transmit(peer, message):
                    self.member.unreachable(time.monotonic(), peer)

    def _transmit(self, peer: bytes, message: wire.Message) -> bool:
        """Send, or drop: a peer that misses it asks again. False when that routing id is not connected, or its key was
        revoked."""
        if not self._gatekeeper.may_get(peer):
            return False
        try:
            version, kind, body = wire.encode(message)
            for part in (peer, version, kind):
                self._router.send(part, MORE)
            self._router.send(body, LAST)
        except zmq.Again:
            return True
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    def farewell(self, reason: str) -> None:
        """Tell every worker to leave, also one that connects late; wait a moment until the known ones have left."""
        leave = wire.Quit(self.member.epoch, reason)
        staying = set(self.member.standby.workers)
        for peer in staying:
            self._transmit(peer, leave)
        deadline = time.monotonic() + FAREWELL_S
        while staying and (left := deadline - time.monotonic()) > 0:
            if not self._router.poll(int(left * 1000) + 1):
                return
            peer, role, frames = self._gatekeeper.receive(self._router)
            with contextlib.suppress(MalformedError):
                message = wire.decode(frames)
                if role is None or isinstance(message, wire.PeerWord):
                    continue
                if isinstance(message, wire.Bye) or not self._transmit(peer, leave):
                    staying.discard(peer)
