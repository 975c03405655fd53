"""Requests of tools and subscribers to a master: its state, missed entries of the log, actions on dead letters.

A question is a word, or a word with its object, in a STATUS message:

| question | answer |
|---|---|
| `status` | the document, with totals read for it |
| `where` | a small one: whether this master leads, and where it publishes events |
| `drain`, `promote` | the document, or why not |
| `dead FIRST COUNT` | COUNT dead letters, in a stable order |
| `requeue OP:ACCOUNT`, `drop OP:ACCOUNT` | the document; the letter is a job again, or dropped for good |
| `forget NAME` | the document; the master does not wait for that reader of the log any more |
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from master.admin.dead_letters import dropped, is_name, requeued
from master.events.log_reader import MAX_LETTERS, LogReader, in_line, letters, replay
from master.member import Member
from protocol import messages as wire
from protocol.logs import fields
from protocol.numbers import whole_number
from storage.ledger.ledger import Ledger

log = logging.getLogger(__name__)

TOTALS = "totals"
FRESH_WITHIN_S = 0.2
"""How long a document waits for fresh totals: a stuck ledger does not prevent an answer."""
ASKED_AGAIN_S = 2.0
"""Totals that have not arrived after that time are requested again."""
IN_LINE_S = 1.0
"""How often the next waiting jobs are read, while a client watches them."""
NOT_LEADING = "this master does not lead: ask the one that does"


class AdminRequests:
    """Answers requests for one master. `state` makes the document, with the given totals if there are any, and
    `where` the small one."""

    def __init__(
        self,
        member: Member,
        reader: LogReader,
        state: Callable[[dict[str, int] | None], dict[str, Any]],
        where: Callable[[], dict[str, Any]],
    ) -> None:
        self._member, self._reader, self._state, self._where = member, reader, state, where
        self._looked_at = self._totals_at = float("-inf")
        self._totals_come = True
        self._waiting: list[bytes] = []
        self.in_line: dict[str, list[list[Any]]] = {}
        """The next jobs of each operation, as last read."""

    def replay(self, peer: bytes, asked: wire.Replay) -> None:
        """Read the log for a client; the answer is returned by `answers`."""
        self._reader.ask(peer, lambda ledger: replay(ledger, asked))

    def look(self, now: float) -> None:
        """Request the next waiting jobs, unless that was done lately."""
        if now - self._looked_at >= IN_LINE_S:
            self._looked_at = now
            self._reader.ask(None, lambda ledger: wire.Report(json.dumps(in_line(ledger))))

    def answers(self, some: bool) -> Iterator[tuple[bytes, wire.Message]]:
        """The answers that were read (`some`: there are any) with their clients, and those that waited long enough."""
        for whom, answer in self._reader.answers() if some else ():
            if isinstance(whom, bytes):
                yield whom, answer
            elif whom is None and isinstance(answer, wire.Report):
                self.in_line = json.loads(answer.document)
            elif whom == TOTALS and isinstance(answer, wire.Report):
                self._totals_come = True
                yield from self._told(json.loads(answer.document))
            elif isinstance(whom, tuple):
                yield whom[0], self._settled(whom[1], answer)
        if self._waiting and time.monotonic() - self._totals_at >= FRESH_WITHIN_S:
            yield from self._told(None)

    def _told(self, totals: dict[str, int] | None) -> Iterator[tuple[bytes, wire.Message]]:
        """The document, for all clients that wait for it."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            report = self._document(totals)
            yield from ((peer, report) for peer in waiting)

    def asked(self, peer: bytes, question: str) -> wire.Message | None:
        """The answer to a question, None when it comes later."""
        word, _, rest = question.partition(" ")
        match word:
            case "status" if not rest:
                return self._status(peer)
            case "where" if not rest:
                return wire.Report(json.dumps(self._where()))
            case "drain" if not rest:
                return self._report(self._drain())
            case "promote" if not rest:
                return self._report(self._promote())
            case "dead":
                return self._dead(peer, rest)
            case "requeue" | "drop":
                return self._letter(peer, word, rest)
            case "forget":
                return self._report(self._forget(rest))
        return self._report(f"there is no question {question[:40]!r}")

    def _status(self, peer: bytes) -> wire.Message | None:
        """The document, with totals no older than the question if the ledger returns them soon."""
        since = time.monotonic() - self._totals_at
        late = not self._totals_come and FRESH_WITHIN_S <= since < ASKED_AGAIN_S
        if self._member.dispatch is None or late:
            return self._document(None)
        if self._totals_come or since >= ASKED_AGAIN_S:
            self._totals_at, self._totals_come = time.monotonic(), False
            self._reader.ask(TOTALS, lambda ledger: wire.Report(json.dumps(ledger.totals())))
        self._waiting.append(peer)
        return None

    def _report(self, refusal: str) -> wire.Message:
        """The answer to an order: at once, since the master may be about to leave."""
        return wire.Refused("command", refusal) if refusal else self._document(None)

    def _document(self, totals: dict[str, int] | None) -> wire.Message:
        return wire.Report(json.dumps(self._state(totals)))

    def _drain(self) -> str:
        if self._member.dispatch is None:
            return NOT_LEADING
        log.info("told to drain: nothing more is handed out")
        self._member.dispatch.drain()
        return ""

    def _promote(self) -> str:
        refusal = self._member.promote(time.monotonic())
        if not refusal:
            log.info("told to see to it that the lead changes hands")
        return refusal

    def _forget(self, name: str) -> str:
        dispatch = self._member.dispatch
        if dispatch is None:
            return NOT_LEADING
        told = dispatch.readers.heard(time.monotonic(), wire.Passed(name, "", -1))
        if told is None:
            return f"no reader of the log is called {name[:60]!r}"
        dispatch.also(told)
        return ""

    def _dead(self, peer: bytes, rest: str) -> wire.Message | None:
        match [whole_number(word, 10**9 - 1) for word in rest.split()]:
            case [int(first), int(count)]:
                self._reader.ask(peer, lambda ledger: letters(ledger, first, min(count, MAX_LETTERS)))
            case _:
                return wire.Refused("command", "say from which letter on, and how many: dead 0 50")
        return None

    def _letter(self, peer: bytes, word: str, name: str) -> wire.Message | None:
        if not is_name(name):
            return wire.Refused("command", f"say which letter, as OPERATION:ACCOUNT: {word} T:22013880")
        if self._member.dispatch is None:
            return wire.Refused("command", NOT_LEADING)

        def read(ledger: Ledger) -> wire.Message:
            letter = ledger.letter(name)
            return wire.Events("", wire.KEPT, 0, 0, "", 0, [wire.Entry(0, 0, name, letter)] if letter else [])

        self._reader.ask((peer, word), read)
        return None

    def _settled(self, word: str, answer: wire.Message) -> wire.Message:
        """The letter was read: request its removal from the ledger, if it is still the same."""
        dispatch = self._member.dispatch
        if not isinstance(answer, wire.Events) or dispatch is None:
            return wire.Refused("command", NOT_LEADING)
        if not answer.entries:
            return wire.Refused("command", "there is no such dead letter")
        if word == "requeue" and self._member.finished:
            return wire.Refused("command", "all is done, and this master hands out no more: say it to the next one")
        entry = answer.entries[0]
        again = word == "requeue"
        name, letter = entry.topic, entry.body
        dispatch.also(requeued(dispatch.traversal, name, letter) if again else dropped(name, letter))
        log.info("told what to do with a dead letter", extra=fields(letter=entry.topic, what=word))
        return self._document(None)
