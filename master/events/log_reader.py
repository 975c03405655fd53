"""Reading for clients: the log of announcements, dead letters, the next waiting jobs. In a thread and over a connection
of its own, so that no commit ever waits for a reader.

A reader that requests too much gets a part of it; one that asks while the ledger does not serve gets no answer, and
asks again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from master.frontier.traversal import front_of
from protocol import messages as wire
from protocol.errors import LedgerError, TmaticError
from protocol.jobs import OPERATIONS, Job, Operation
from protocol.mailbox import Mailbox
from storage.ledger.job_codec import unpack_job
from storage.ledger.ledger import Ledger

log = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Questions that wait; further ones are dropped, and the clients ask again."""
MAX_ENTRIES = 2000
MAX_BYTES = 1024 * 1024
"""Bytes of entries in one answer."""
READ_AT_ONCE = 500
SCANNED_AT_ONCE = 20_000
"""Entries that are scanned for one answer: those of other topics count too."""
MAX_LETTERS = 500
NEXT = 20
"""Waiting jobs that are shown for an operation."""

Question = Callable[[Ledger], wire.Message]


def replay(ledger: Ledger, asked: wire.Replay) -> wire.Events:
    """The entries of the log after a position."""
    reigns = ledger.reigns()
    while True:
        answer = _replay(ledger, asked, reigns)
        before, reigns = reigns, ledger.reigns()
        if before == reigns:
            return answer
        # The lead changed meanwhile, and with it the incarnation of each sequence.


def _replay(ledger: Ledger, asked: wire.Replay, reigns: list[tuple[str, int]]) -> wire.Events:
    ledger_id, head = ledger.observe().ledger_id, ledger.heads().get("", 0)
    first = _first(ledger, head)

    def answer(how: str, covered: int, entries: list[wire.Entry]) -> wire.Events:
        return wire.Events(ledger_id, how, first, head, reign_of(reigns, covered), covered, entries)

    known = not asked.sequence or reign_of(reigns, asked.sequence) == asked.incarnation
    if asked.ledger and (asked.ledger != ledger_id or asked.sequence > head or not known):
        return answer(wire.OTHER, head, [])
    if not asked.most:
        return answer(wire.KEPT, head, [])
    if asked.sequence + 1 < first:
        return answer(wire.GONE, head, [])
    entries: list[wire.Entry] = []
    covered, size, topics = asked.sequence, 0, tuple(asked.topics)
    for sequence, previous, topic, body in _behind(ledger, asked.sequence, first):
        if sequence != covered + 1:  # trimmed beyond it during the read
            return answer(wire.GONE, head, [])
        if topic.startswith(topics):
            if len(entries) >= min(asked.most, MAX_ENTRIES) or (entries and size + len(body) > MAX_BYTES):
                break
            entries.append(wire.Entry(sequence, previous, topic, body))
            size += len(body)
        covered = sequence
        if covered - asked.sequence >= SCANNED_AT_ONCE:
            break
    return answer(wire.KEPT, covered, entries)


def reign_of(reigns: list[tuple[str, int]], sequence: int) -> str:
    """The incarnation that assigned a sequence, "" when that is unknown."""
    for incarnation, first in reversed(reigns):
        if first <= sequence:
            return incarnation
    return ""


def _first(ledger: Ledger, head: int) -> int:
    """The oldest sequence that is kept."""
    oldest = ledger.log(0, 0)
    return oldest[0][0] if oldest else head + 1


def _behind(ledger: Ledger, sequence: int, first: int) -> Iterator[tuple[int, int, str, bytes]]:
    """The entries after a sequence. The log is read by index, which shifts whenever its beginning is trimmed: that is
    detected by the sequence of the entry read, and the new index is read. If the next entry was itself trimmed, the
    first remaining one follows."""
    while True:
        entries = ledger.log(sequence + 1 - first, sequence + READ_AT_ONCE - first)
        if not entries or entries[0][0] != sequence + 1:
            before, first = first, _first(ledger, sequence)
            if first == before:
                return
            sequence = max(sequence, first - 1)
            continue
        yield from entries
        sequence = entries[-1][0]


def letters(ledger: Ledger, first: int, count: int) -> wire.Report:
    """`count` dead letters from the `first` on, in a stable order."""
    told = [
        {
            "operation": job.operation.value,
            "user": job.user,
            "tries": job.progress.tries,
            "lapses": job.progress.lapses,
            "records": job.progress.count,
            "cursor": job.progress.cursor,
            "words": words,
        }
        for job, words in ledger.dead()
    ]
    told.sort(key=lambda letter: (letter["user"], letter["operation"]))
    return wire.Report(json.dumps({"dead": len(told), "first": first, "letters": told[first : first + count]}))


def in_line(ledger: Ledger) -> dict[str, list[list[Any]]]:
    """The next jobs of each operation: account, tries, cursor. Started ones come first."""
    waiting: dict[str, list[list[Any]]] = {}
    names = ledger.queue_names()
    for operation in Operation:
        queues = [front_of(operation), *sorted(n for n in names if n.startswith(operation.value)), operation.value]
        jobs: list[Job] = []
        for name in dict.fromkeys(queues):
            if name in names and len(jobs) < NEXT:
                jobs += map(unpack_job, ledger.beginning(name, NEXT - len(jobs)))
        waiting[OPERATIONS[operation].name] = [[job.user, job.progress.tries, job.progress.cursor] for job in jobs]
    return waiting


class LogReader:
    """Answers in its own thread. `fileno` becomes readable when an answer is ready."""

    def __init__(self, opened: Callable[[], Ledger]) -> None:
        self._opened = opened
        self._questions: queue.Queue[tuple[Any, Question] | None] = queue.Queue(MAX_WAITING)
        self._answers: Mailbox[tuple[Any, wire.Message]] = Mailbox()
        self._thread = threading.Thread(target=self._run, name="log reader", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._answers.fileno()

    def ask(self, whom: Any, question: Question) -> None:
        """Queue a question; `answers` returns its answer together with `whom`."""
        try:
            self._questions.put_nowait((whom, question))
        except queue.Full:
            log.debug("too many questions wait for the log's reader")

    def answers(self) -> Iterable[tuple[Any, wire.Message]]:
        """The answers that are ready."""
        return self._answers.take_all()

    def close(self) -> None:
        """Stop answering."""
        with contextlib.suppress(queue.Full):  # a daemon thread, and the process is about to end
            self._questions.put_nowait(None)

    def _run(self) -> None:
        ledger: Ledger | None = None
        while (asked := self._questions.get()) is not None:
            whom, question = asked
            try:
                ledger = ledger or self._opened()
                answer = question(ledger)
            except LedgerError as error:
                log.debug("the log's reader got no answer from the ledger: %s", error)
                continue
            except TmaticError as error:
                answer = wire.Refused("command", str(error))
            except Exception:
                # A bug, with its traceback; the other questions must still be answered.
                log.exception("the log's reader failed by a mistake in the program")
                continue
            self._answers.tell((whom, answer))
