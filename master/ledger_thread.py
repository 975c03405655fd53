"""One thread that talks to the ledger, so that the loop never waits for it.

Questions are asked in order; the next may be queued before the answer to the last was taken, so that the ledger need
not wait for the loop. If one fails, those that were queued before the loop noticed are not sent: they fail with the
same error, each in its turn.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from protocol.errors import TmaticError
from protocol.mailbox import Mailbox

Question = Callable[[], Any]
Taken = Callable[[Any], None]


class LedgerThread:
    """Runs questions in order. `fileno` becomes readable when an answer is ready."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[tuple[int, Question] | None] = queue.SimpleQueue()
        self._answers: Mailbox[tuple[Any, TmaticError | None]] = Mailbox()
        self._takers: deque[Taken] = deque()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether an answer is pending, or not taken yet."""
        return bool(self._takers)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._answers.fileno()

    def ask(self, question: Question, taken: Taken) -> None:
        """Queue a question; `taken` is returned with the answer by `answer`."""
        self._takers.append(taken)
        self._questions.put((self._failures, question))

    def answer(self) -> tuple[Taken, Any]:
        """The next answer, and its `taken`. Raises it if it is a TmaticError."""
        value, error = self._answers.take()
        taken = self._takers.popleft()
        if error is not None:
            self._failures += 1
            raise error
        return taken, value

    def close(self, within_s: float) -> None:
        """Wait that long for the questions in flight to end."""
        self._questions.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        failed: tuple[int, TmaticError] | None = None
        while (asked := self._questions.get()) is not None:
            failures, question = asked
            value, error = None, failed[1] if failed is not None and failed[0] == failures else None
            if error is None:
                try:
                    value = question()
                except TmaticError as why:
                    error = why
                except Exception as why:  # noqa: BLE001 - a bug must reach the loop, which ends with it
                    error = BugError(why)
                if error is not None:
                    failed = (failures, error)
            self._answers.tell((value, error))


class BugError(TmaticError):
    """An unexpected exception, carried to the loop, which raises the original."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
