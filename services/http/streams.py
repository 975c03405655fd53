"""Server-sent events to hundreds of open pages: published once from any thread, written to each by its own greenlet.

Rules:
  * An event is encoded once and shared; a stream holds only what it has not sent yet, at most `backlog` events.
  * A client that cannot keep up is disconnected. A browser reconnects and gets the first events again: nothing is lost.
  * A comment every few seconds distinguishes a live stream from one whose client has gone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import bottle  # type: ignore[import-untyped]
import gevent
from gevent.queue import Empty, Queue

from services.http.answers import Answered, failure

HEARTBEAT_S: Final = 15.0
_COMMENT: Final = b":\n\n"
_RETRY: Final = b"retry: 2000\n\n"
_UNHEARD: Final = 4_096
"""Events that wait for the server's thread; if there are more, it is stuck, and the oldest are dropped."""


def encoded(event: str, data: str) -> bytes:
    """One event in the format of a stream. `event` is its name; lines of `data` remain lines."""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    name = "".join(event.splitlines())
    return f"event: {name}\n".encode() + b"".join(b"data: " + line.encode() + b"\n" for line in lines) + b"\n"


class Streams:
    """The open event streams of a service, at most `most` of them; `backlog` events may wait in each."""

    def __init__(self, *, most: int = 800, backlog: int = 256, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._most = most
        self._backlog = backlog
        self._heartbeat_s = heartbeat_s
        self._open: set[Queue[bytes | None]] = set()
        self._arrived: deque[bytes | None] = deque(maxlen=_UNHEARD)
        self._lock = threading.Lock()
        self._watcher: Any = None

    def __len__(self) -> int:
        return len(self._open)

    def publish(self, event: str, data: str) -> None:
        """Send to every open stream; from any thread, without blocking."""
        self._tell(encoded(event, data))

    def end(self) -> None:
        """End every open stream; from any thread. The server does so when it ends."""
        self._tell(None)

    def answer(self, first: Iterable[tuple[str, str]] = ()) -> Answered:
        """The response to a request for the stream: events (name, data) for this one only, then published events.

        Nothing is lost in between: events published while `first` is produced follow it, so they may be sent twice.
        """
        if len(self._open) >= self._most:
            return failure(503, f"{self._most} event streams are open, which is the most; try again later")
        self._listen()
        queue: Queue[bytes | None] = Queue(self._backlog)
        self._open.add(queue)
        try:
            begin = [_RETRY, *(encoded(event, data) for event, data in first)]
        except BaseException:
            self._open.discard(queue)
            raise
        bottle.response.content_type = "text/event-stream; charset=utf-8"
        bottle.response.set_header("Cache-Control", "no-store")
        bottle.response.set_header("X-Accel-Buffering", "no")
        bottle.response.set_header("Connection", "close")
        return _Stream(self._open, queue, begin, self._heartbeat_s)

    def _tell(self, piece: bytes | None) -> None:
        with self._lock:
            self._arrived.append(piece)
            if self._watcher is not None:
                self._watcher.send()

    def _listen(self) -> None:
        """Start receiving what other threads publish; events from before the first stream are discarded."""
        with self._lock:
            if self._watcher is None:
                self._arrived.clear()
                self._watcher = gevent.get_hub().loop.async_()
                self._watcher.start(self._spread)

    def _spread(self) -> None:
        while self._arrived:
            piece = self._arrived.popleft()
            for queue in list(self._open):
                if queue.full():  # it is cut: its unsent events are dropped, and it ends
                    self._open.discard(queue)
                    while not queue.empty():
                        queue.get_nowait()
                    queue.put_nowait(None)
                else:
                    queue.put_nowait(piece)


class _Stream:
    """One stream, which the server iterates over."""

    def __init__(
        self, among: set[Queue[bytes | None]], queue: Queue[bytes | None], begin: Sequence[bytes], heartbeat_s: float
    ) -> None:
        self._among = among
        self._queue = queue
        self._begin = begin
        self._heartbeat_s = heartbeat_s

    def __iter__(self) -> Iterator[bytes]:
        yield b"".join(self._begin)
        self._begin = ()
        while True:
            try:
                piece = self._queue.get(timeout=self._heartbeat_s)
            except Empty:
                piece = _COMMENT
            pieces: list[bytes] = []
            while piece is not None:
                pieces.append(piece)
                if self._queue.empty():
                    break
                piece = self._queue.get_nowait()
            yield b"".join(pieces)
            if piece is None:
                return

    def close(self) -> None:
        self._among.discard(self._queue)
