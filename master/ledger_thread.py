"""One thread that talks to the ledger, so that the loop never waits for it.

Questions are asked one after the other; the next may be put before the answer to the last was taken, so that the ledger
need not wait for the loop. Where one fails, those that were put before the loop heard of it are not asked any more:
they fail as it did, each in its turn.
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
    """Runs one question after the other. `fileno` becomes readable when an answer is there."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[tuple[int, Question] | None] = queue.SimpleQueue()
        self._answers: Mailbox[tuple[Any, TmaticError | None]] = Mailbox()
        self._takers: deque[Taken] = deque()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come, or to be taken."""
        return bool(self._takers)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._answers.fileno()

    def ask(self, question: Question, taken: Taken) -> None:
        """Ask; `taken` is to get the answer, which comes by `answer`."""
        self._takers.append(taken)
        self._questions.put((self._failures, question))

    def answer(self) -> tuple[Taken, Any]:
        """The next answer, and who wants it. Raises the TmaticError that it is."""
        value, error = self._answers.take()
        taken = self._takers.popleft()
        if error is not None:
            self._failures += 1
            raise error
        return taken, value

    def close(self, within_s: float) -> None:
        """Let the questions under way end, for so long."""
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
    """Something that no code of ours expected, carried to the loop, which raises what it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
