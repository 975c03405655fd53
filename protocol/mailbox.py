"""A queue from other threads to a loop, with a descriptor that wakes the loop's poller."""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_AT_ONCE: Final = 256


class Mailbox(Generic[T]):
    """A queue from any thread to one that polls. `fileno` is readable while the queue is not empty; it may become
    readable once more after `take_all` took an item that was just added.

    `writing` is the other end: a byte written to it, as at a signal, also wakes the poller, until `take_all`.
    """

    def __init__(self) -> None:
        self._letters: deque[T] = deque()
        self._rung = False
        self._lock = threading.Lock()
        self._reading, self.writing = socket.socketpair()
        self._reading.setblocking(False)
        self.writing.setblocking(False)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._reading.fileno()

    def tell(self, told: T) -> None:
        """Add an item, from any thread."""
        with self._lock:
            self._letters.append(told)
            is_first, self._rung = not self._rung, True
        if is_first:  # without the lock, which the woken thread takes at once
            try:  # noqa: SIM105 - faster, and on the path of every commit
                self.writing.send(b"\0")
            except BlockingIOError:  # it is readable then
                pass

    def take(self) -> T:
        """The oldest item; `fileno` must be readable. Raises IndexError when there is none."""
        with self._lock:
            told = self._letters.popleft()
            if not self._letters:
                self._hush()
        return told

    def take_all(self) -> deque[T]:
        """All items, oldest first."""
        with self._lock:
            self._hush()
            told, self._letters = self._letters, deque()
        return told

    def _hush(self) -> None:
        self._rung = False
        try:
            while len(self._reading.recv(_AT_ONCE)) == _AT_ONCE:
                pass
        except BlockingIOError:
            pass
