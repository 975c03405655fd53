"""A total time-out per call: a server may send a byte now and then for ever, so that each single wait is short.

The calling thread can only bound each of its waits. So one more thread checks all calls, and shuts down the connection
of an overdue one; the waiting thread then sees its end, and `late` says why.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref

LOOK_S = 0.2
"""How often the calls are checked, and so by how much one may exceed its time."""

_NEVER = float("inf")


class WatchedCalls:
    """The calls of one thread over one connection, one after the other.

    A connection is watched from its start: a proxy may trickle its response, and a service its certificate. A socket is
    replaced when it becomes a TLS socket, so until then a duplicate of its descriptor is watched.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._copied = False
        self._lock = threading.Lock()
        self.connecting = False
        """Whether the current call has no connection yet, so that it cannot have been counted."""
        self.until = _NEVER
        self.late = False

    def connects(self, new: socket.socket) -> None:
        """There is a socket, which may need more set-up before it can carry a request."""
        self._use(socket.socket(fileno=os.dup(new.fileno())), copied=True)

    def connected(self, done: socket.socket | None) -> None:
        """The connection is established, or given up (None)."""
        self._use(done, copied=False)

    def _use(self, new: socket.socket | None, *, copied: bool) -> None:
        with self._lock:
            if self._copied and self._socket is not None:
                self._socket.close()
            self._socket, self._copied = new, copied

    def begin(self, seconds: float) -> None:
        """A call begins, with that many seconds for its first part."""
        self.late = self.connecting = False
        self.go_on(seconds)

    def go_on(self, seconds: float) -> None:
        """Its next part begins, with that many seconds."""
        self.until = time.monotonic() + seconds

    def end(self) -> None:
        """The call is over."""
        self.until = _NEVER

    def look(self, now: float) -> None:
        """Shut the connection down if the call is overdue. A call that still connects is handled at the next check."""
        if now > self.until:
            self.late = True
            with self._lock, contextlib.suppress(OSError):
                if self._socket is not None:
                    # Not the method of a TLS socket, which would clear its state while the other thread reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class CallWatchdog:
    """Checks the registered calls, in a thread that ends when the watch is no longer referenced."""

    def __init__(self) -> None:
        self._all: list[WatchedCalls] = []
        self._lock = threading.Lock()

    def watched(self) -> WatchedCalls:
        """Register one more."""
        one = WatchedCalls()
        with self._lock:
            if not self._all:
                threading.Thread(target=_look, args=(weakref.ref(self),), name="watch", daemon=True).start()
            self._all.append(one)
        return one

    def look(self) -> None:
        """Check all of them once."""
        now = time.monotonic()
        with self._lock:
            for one in self._all:
                one.look(now)


def _look(of: weakref.ref[CallWatchdog]) -> None:
    while (watch := of()) is not None:
        watch.look()
        del watch
        time.sleep(LOOK_S)
