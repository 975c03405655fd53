"""Writes what a finished crawl leaves beside its data, in a thread of its own: once in each leadership."""

from __future__ import annotations

import threading
from collections.abc import Callable

from protocol.errors import LedgerError


class Finishing:
    """Runs `write` at a look, and remembers for which leadership: the next one may have more to write."""

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._leadership: object = None

    def look(self, leadership: object) -> bool:
        """Whether all is written in this leadership; starts writing if it is not running. Raises what `write` raised;
        after a LedgerError the next look starts again."""
        if self._thread is None:
            self._leadership = leadership
            self._thread = threading.Thread(target=self._run, name="finish", daemon=True)
            self._thread.start()
            return False
        if self._thread.is_alive():
            return False
        if self._leadership is not leadership:
            self._thread = self._error = None
            return False
        if (error := self._error) is not None:
            if isinstance(error, LedgerError):
                self._thread = self._error = None
            raise error
        return True

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - the next look raises it
            self._error = error
