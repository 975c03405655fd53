"""One thread that talks to the ledger, so that the loop never waits for it. One question is under way at a time."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

from protocol.errors import TmaticError

Question = Callable[[], Any]


class LedgerThread:
    """Runs one question after the other. `fileno` becomes readable when an answer is there."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Any, TmaticError | None]] = queue.SimpleQueue()
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.busy = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._ours.fileno()

    def ask(self, question: Question) -> None:
        """Ask; the answer comes by `answer`."""
        assert not self.busy, "one question is under way at a time"
        self.busy = True
        self._questions.put(question)

    def answer(self) -> Any:
        """The answer to the last question. Raises the TmaticError that it ended with."""
        self._ours.recv(4096)
        value, error = self._answers.get()
        self.busy = False
        if error is not None:
            raise error
        return value

    def close(self, within_s: float) -> None:
        """Let the question under way end, for so long."""
        self._questions.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            try:
                self._answers.put((question(), None))
            except TmaticError as error:
                self._answers.put((None, error))
            except Exception as error:  # noqa: BLE001 - a bug must reach the loop, which ends with it
                self._answers.put((None, BugError(error)))
            self._theirs.send(b".")


class BugError(TmaticError):
    """Something that no code of ours expected, carried to the loop, which raises what it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
