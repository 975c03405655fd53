"""The events that update a page: one stream per page, written at most once a second.

The contents common to all streams are prepared once and shared, compressed too: each piece is an independent deflate
block without references to earlier data, so pieces can be concatenated after any gzip header.

    hello      {"boot", "scrollback"}: identifies the run of the monitor: each run numbers its lines from the start
    overview   the overview and the rows of the workers, when a document has arrived
    lines      lines of the log that this page has not received; the event's id is BOOT-NUMBER of the last one
    failures   the number of failed tries, and the latest
    beat       {"silent_s"}: nothing new, but the monitor lives
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

import orjson

from protocol.numbers import whole_number
from services.monitor.feed import Feed

PAUSE_S: Final = 1.0
RETRY_MS: Final = 2_000
LINES_AT_ONCE: Final = 2_000
FAILURES_SHOWN: Final = 60
MAX_STREAMS: Final = 256
FULL_CREW: Final = 2_000
"""With more workers than that their rows are sent less often, so that a page never gets more rows per second."""

GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def event(name: str, data: Any, identifier: str = "") -> bytes:
    """One event. JSON contains no line breaks, so it is one line."""
    number = f"id: {identifier}\n".encode() if identifier else b""
    return number + b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def packed(piece: bytes) -> bytes:
    """An independent piece of a deflate stream, which does not end it."""
    deflate = zlib.compressobj(5, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(piece) + deflate.flush(zlib.Z_FULL_FLUSH)


class PageStreams:
    """The streams of one feed. `wait` pauses the writer of a stream, for so many seconds."""

    def __init__(self, feed: Feed, wait: Callable[[float], object]) -> None:
        self._feed, self._wait = feed, wait
        self._made: dict[str, tuple[object, bytes, bytes]] = {}
        self._boot = f"{int(feed.started_at * 1000):x}"
        self._ending = False
        self.open = 0

    def end(self) -> None:
        """End every stream at its next iteration; from any thread."""
        self._ending = True

    def stream(self, after: str, in_gzip: bool) -> Iterator[bytes]:
        """The bytes of a stream, until the client disconnects. `after` is the id of the last event received."""
        boot, _, number = after.partition("-")
        seen = whole_number(number, 10**15 - 1) if boot == self._boot else None
        self.open += 1
        try:
            yield from self._pieces(seen or 0, in_gzip)
        finally:
            self.open -= 1

    def _pieces(self, after_line: int, in_gzip: bool) -> Iterator[bytes]:
        form: Callable[[bytes], bytes] = packed if in_gzip else bytes
        first = b"retry: %d\n\n" % RETRY_MS + event("hello", {"boot": self._boot, "scrollback": self._feed.scrollback})
        yield GZIP_HEAD + form(first) if in_gzip else first
        version, failed, crew_version = -1, -1, -1
        while not self._ending:
            pieces = []
            if self._feed.version != version:
                version = self._feed.version
                pieces.append(self._shared("overview", version, self._feed.overview, in_gzip))
                if crew_version < 0 or version - crew_version >= len(self._feed.workers()) / FULL_CREW:
                    crew_version = version
                    pieces.append(self._shared("workers", version, self._feed.workers, in_gzip))
            if pieces:
                yield b"".join(pieces)
            quiet = not pieces
            for last, piece in self._lines(after_line):
                after_line, quiet = last, False
                yield form(piece)
            if self._feed.failures_version != failed:
                failed, quiet = self._feed.failures_version, False
                yield self._shared("failures", failed, self._failures, in_gzip)
            if quiet:
                yield form(event("beat", {"silent_s": self._feed.silent_s()}))
            self._wait(PAUSE_S)

    def _failures(self) -> dict[str, Any]:
        count, latest = self._feed.failures()
        return {"count": count, "latest": [asdict(one) for one in latest[:FAILURES_SHOWN]]}

    def _lines(self, after: int) -> Iterator[tuple[int, bytes]]:
        lines = self._feed.lines(after)
        for start in range(0, len(lines), LINES_AT_ONCE):
            chosen = lines[start : start + LINES_AT_ONCE]
            last = chosen[-1].number
            yield last, event("lines", [line.row() for line in chosen], f"{self._boot}-{last}")

    def _shared(self, name: str, version: int, made: Callable[[], Any], in_gzip: bool) -> bytes:
        known = self._made.get(name)
        if known is None or known[0] != version:
            body = event(name, made())
            known = self._made[name] = (version, body, packed(body))
        _, plain, deflated = known
        return deflated if in_gzip else plain
