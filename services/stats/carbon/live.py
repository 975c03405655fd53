"""Sends a recording to carbon while it is being written: the thread, the place where it resumes, and its end."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Final

from protocol.logs import fields
from services.stats.carbon.connection import Address
from services.stats.carbon.delivery import SETTLE_S, Delivery
from services.stats.carbon.sent import Sent
from services.stats.recording.tail import RecordingTail

GOODBYE_S: Final = 5.0
"""How long the end of a recording may take to reach carbon; the rest is sent at the next start."""

log = logging.getLogger(__name__)


class LiveDelivery:
    """Sends points as they are recorded, and those that an earlier run recorded and did not deliver.

    Points recorded before carbon was first configured are for `tmatic-stats replay`.
    """

    def __init__(self, path: Path, end: int, address: Address, *, settle_s: float = SETTLE_S) -> None:
        self._sent = Sent(path, str(address))
        place = self._sent.place()
        if place is None and end:
            log.info("sent to carbon is what comes now", extra=fields(before=f"tmatic-stats replay {path}"))
        if place is None or place > end:
            place = end
            self._sent.keep_place(place)
        self._tail = RecordingTail(path, end)
        self._number = 0
        self.delivery = Delivery(self._tail, address, place, self._settled, settle_s=settle_s)
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="carbon", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.delivery.run()
        except Exception as error:  # noqa: BLE001 - it is raised where the recording grows, or at the end
            self._failed = error

    def grown(self, end: int) -> None:
        """The recording has grown to so many bytes. Raises what ended the delivery, which can only be a bug in here:
        undelivered points are sent when the process is restarted."""
        if self._failed is not None:
            raise self._failed
        self._tail.end = end
        self.delivery.wake()

    def close(self) -> None:
        """Send the rest, and return."""
        self._tail.closed = True
        self.delivery.stop(GOODBYE_S)
        self._thread.join(GOODBYE_S + 2.0)
        if self._thread.is_alive():
            log.warning("carbon took the end of the recording too slowly; it is sent at the next start")
            return
        self._tail.close()
        self._sent.close()
        if self._failed is not None:
            raise self._failed

    def _settled(self, place: int) -> None:
        self._sent.keep_place(place)
        span = self._tail.span(place)
        if span is not None:
            self._number = self._number or self._sent.begin(span[0], int(time.time()))
            self._sent.reach(self._number, span[1] + 1)
