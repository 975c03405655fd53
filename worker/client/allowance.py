"""The allowance of a lease: how many requests it may send, and when its thread may continue.

The loop grants, commits and stops; the one thread that works on the lease spends and waits. A request is *asked* when
it is sent. It is *spent*, for the master, when the service's own count is known to include it: with its response, or,
without one, with the next response. Until then the grant holds it, so that it is not granted twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LOOK_S = 0.2
"""How often a thread that waits for a leader checks for one."""


class GrantEmptyError(Exception):
    """No further request may be sent under this lease: the job is returned with its cursor."""


class StoppedError(Exception):
    """The lease is lost: its results are discarded."""


class RequestAllowance:
    """One lease's requests. `may_ask` says whether a leader was heard lately."""

    def __init__(self, granted: int, may_ask: Callable[[], bool] = lambda: True) -> None:
        self._may_ask = may_ask
        self._changed = threading.Condition()
        self._granted = granted
        self._asked = 0
        self._spent = 0
        self._committed = False
        self._stopped = False
        self._leaving = False

    # The thread that works on the lease.

    def spend(self) -> None:
        """Take one request. Waits while no leader is heard, since no request may be sent without one.

        Raises GrantEmptyError when there is none left, StoppedError when the lease is lost.
        """
        with self._changed:
            while True:
                self._check()
                if self._leaving or self._asked >= self._granted:
                    raise GrantEmptyError
                if self._may_ask():
                    self._asked += 1
                    return
                self._changed.wait(LOOK_S)

    def answered(self) -> None:
        """The last request was answered: the service's count includes it and all earlier ones."""
        with self._changed:
            self._spent = self._asked

    @property
    def spent(self) -> int:
        """Requests that the service is known to have counted."""
        return self._spent

    def pause(self, seconds: float) -> None:
        """Wait before a retry, but not beyond the end of the lease. Raises StoppedError."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._leaving and (left := until - time.monotonic()) > 0:
                self._check()
                self._changed.wait(left)
            self._check()

    def wait_for_commit(self) -> None:
        """Wait until the last reported page is committed. Raises StoppedError."""
        with self._changed:
            while not self._committed:
                self._check()
                self._changed.wait()
            self._committed = False

    def _check(self) -> None:
        if self._stopped:
            raise StoppedError

    # The loop.

    def commit(self, granted: int) -> None:
        """The last page is committed, and that many requests have been granted since the lease began."""
        with self._changed:
            self._granted = max(self._granted, granted)
            self._committed = True
            self._changed.notify_all()

    def stop(self) -> None:
        """The lease is lost."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def leave(self) -> None:
        """The worker leaves: the current page is finished, and no other is started."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
