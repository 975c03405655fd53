"""The protocol of carbon: the two encodings of points, and one connection to it.

Carbon sends no answers. Data that the kernel of its machine has acknowledged may still be lost with carbon, which keeps
points in memory before whisper has them; `services.stats.carbon.delivery` handles that.
"""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.errors import TmaticError
from services.stats.recording.points import Point

CONNECT_S: Final = 5.0
STALLED_S: Final = 60.0
"""How long carbon may read nothing before the connection counts as dead. It pauses when its cache is full."""
READ_ALL_S: Final = 30.0
"""How long carbon may take to read the rest, and to close, after we have shut down our side."""
MAX_POINTS: Final = 500
"""Points of one message. In pickle they stay below carbon's limit of 1 MiB."""

_LOOK_S: Final = 0.2


class CarbonLostError(TmaticError):
    """The connection to carbon is lost, or could not be made; a retry may succeed."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where carbon listens, and whether it expects pickle there."""

    host: str
    port: int
    pickle: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def encode(self, points: Sequence[Point]) -> bytes:
        """Encode at most `MAX_POINTS` points in the form that this carbon expects."""
        return pickled(points) if self.pickle else b"".join(point.line() for point in points)


def pickled(points: Sequence[Point]) -> bytes:
    """`[(name, (unix time, value)), …]` in pickle's protocol 2, with its length as a prefix, as carbon requires.

    Written opcode by opcode, since nothing here may pickle or unpickle objects: PROTO 2, EMPTY_LIST, MARK;
    for each point BINUNICODE, BINFLOAT twice, TUPLE2 twice; APPENDS, STOP.
    """
    parts = [b"\x80\x02]("]
    for point in points:
        name = point.name.encode()
        parts += (
            b"X",
            struct.pack("<I", len(name)),
            name,
            struct.pack(">cdcd", b"G", point.at, b"G", float(point.value)),
        )
        parts.append(b"\x86\x86")
    parts.append(b"e.")
    body = b"".join(parts)
    return struct.pack(">I", len(body)) + body


class Link:
    """One connection. Every method raises CarbonLostError, with the system's message, when it is lost."""

    def __init__(self, address: Address, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = address, clock
        self.sent = 0
        """Bytes that the kernel has accepted."""
        try:
            self._socket = socket.create_connection((address.host, address.port), CONNECT_S)
        except (OSError, UnicodeError) as error:  # the latter for an invalid host name
            raise self._lost(error) from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_S * 1000))

    def send(self, data: bytes, gone_on: Callable[[], bool] = lambda: True) -> None:
        """Pass everything to the kernel; waits while carbon is slow, as long as `gone_on` returns True."""
        view, moved_at = memoryview(data), self._clock()
        while view:
            self.look()
            try:
                taken = self._socket.send(view)
            except BlockingIOError:
                if self._clock() - moved_at > STALLED_S or not gone_on():
                    raise CarbonLostError(f"carbon at {self._address} takes nothing any more") from None
                _ready(self._socket, select.POLLOUT)
                continue
            except OSError as error:
                raise self._lost(error) from error
            view, moved_at = view[taken:], self._clock()
            self.sent += taken

    def look(self) -> None:
        """Detect that carbon has closed. Data from it, which it never sends, is dropped."""
        try:
            if self._socket.recv(4096) == b"":
                raise CarbonLostError(f"carbon at {self._address} closed the connection")
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lost(error) from error

    def acknowledged(self) -> int:
        """Bytes that the kernel of carbon's machine has acknowledged."""
        waiting = fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0\0\0\0")
        return self.sent - int(struct.unpack("i", waiting)[0])

    def finish(self, within_s: float = READ_ALL_S) -> None:
        """Shut down our side, and wait until carbon closes in turn: then it has read everything."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            deadline = self._clock() + within_s
            while self._clock() < deadline:
                if _ready(self._socket, select.POLLIN) and self._socket.recv(4096) == b"":
                    return
        except OSError as error:
            raise self._lost(error) from error
        raise CarbonLostError(f"carbon at {self._address} did not read everything within {within_s:.0f} s")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _lost(self, error: OSError | UnicodeError) -> CarbonLostError:
        if isinstance(error, TimeoutError) or (isinstance(error, OSError) and error.errno == errno.ETIMEDOUT):
            why = "it does not answer"
        else:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return CarbonLostError(f"carbon at {self._address} cannot be reached: {why}")


def _ready(connection: socket.socket, what: int) -> bool:
    """Whether it becomes ready within a moment. Not by `select`, which supports no descriptor above 1,023."""
    poll = select.poll()
    poll.register(connection, what)
    return bool(poll.poll(_LOOK_S * 1000))
