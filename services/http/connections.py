"""One connection: gevent's HTTP/1.1 parser, with limits of size and time, and silent about clients that disconnect.

It refuses, before a request reaches the application: a head that is too large or arrives too slowly, HTTP versions
other than 1.0 and 1.1, and ambiguous lengths.
"""

from __future__ import annotations

import contextlib
import logging
import re
from http.client import HTTPException
from io import BufferedIOBase
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, cast

import gevent
from gevent import socket
from gevent.pywsgi import OldMessage, WSGIHandler

from protocol.logs import fields
from protocol.numbers import whole_number
from services.http.answers import reason, words_of_failure
from services.http.guard import HEADERS, Broken
from services.http.limits import Limits

log = logging.getLogger(__name__)

_MAX_LINE_LENGTH: Final = 8_192
"""Bytes of a request line or one header: gevent's own limit for the first."""

_LINGER_S: Final = 1.0
_LINGER_BYTES: Final = 4 << 20
"""How long, and how many bytes, a client is read before the close, so that it sees the response and not a reset."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Outcome = tuple[str, bytes] | Literal[True] | None
"""What `handle_one_request` returns: a response to close after, True to keep the connection, or None to close it."""


class _HeadError(ValueError):
    """A head that is refused; gevent passes it to `_handle_client_error`."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Head:
    """Reads a head within its size limit."""

    def __init__(self, source: BufferedIOBase, left: int) -> None:
        self._source = source
        self._left = left

    def readline(self, _: int = -1) -> bytes:
        most = min(_MAX_LINE_LENGTH, self._left) + 1
        line = self._source.readline(most)
        self._left -= len(line)
        if len(line) == most:
            raise _HeadError(431, "the headers are too large")
        if not line.endswith(b"\n"):
            raise _HeadError(400, "the request ends in the middle of its headers")
        return line


class Connection(WSGIHandler):
    """One connection of the server, which sets `limits` in a subclass."""

    limits = Limits()
    idle: ClassVar[set[Any]] = set()
    """The greenlets of connections that wait for a request: these may be killed at any time."""
    _clock: Any = None

    def handle(self) -> None:
        """Answer requests until the connection ends."""
        # Head and body of a response are sent separately: without this the body waits for the acknowledgement of the
        # head, which clients delay by 40 ms.
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()

    def handle_one_request(self) -> Outcome:
        """Read a request within its time limit, answer it, and return whether another may follow."""
        if not self._something_comes():
            return None
        self.socket.settimeout(self.limits.write_s)
        clock = self._clock = gevent.Timeout(self.limits.head_s)
        clock.start()
        try:
            outcome = super().handle_one_request()
        except gevent.Timeout as late:
            if late is not clock:
                raise
            return self._refusal(408, f"the request did not arrive within {self.limits.head_s:g} s")
        except _HeadError as error:
            return self._refusal(error.status, str(error))
        except OSError:
            return None
        finally:
            clock.close()
        if outcome is not True:
            if isinstance(outcome, tuple):
                return self._ended(outcome)
            self._linger()
        return outcome

    def _something_comes(self) -> bool:
        """Whether the first byte of a request arrives before the connection has been idle for too long."""
        clock = gevent.Timeout(self.limits.idle_s)
        clock.start()
        self.idle.add(gevent.getcurrent())
        try:
            return not self.rfile.closed and bool(self.rfile.peek(1))
        except gevent.Timeout as late:
            if late is not clock:
                raise
            return False
        except OSError:
            return False
        finally:
            self.idle.discard(gevent.getcurrent())
            clock.close()

    def read_requestline(self) -> str:
        """The request line. Raises _HeadError when it is too long."""
        line = self.rfile.readline(_MAX_LINE_LENGTH)
        if line in (b"\r\n", b"\n"):  # some clients send an extra empty line after a body
            line = self.rfile.readline(_MAX_LINE_LENGTH)
        if len(line) == _MAX_LINE_LENGTH:
            raise _HeadError(414, f"the address is longer than {_MAX_LINE_LENGTH:,} bytes, which is the most")
        return line.decode("latin-1")

    def MessageClass(self, *of: Any) -> OldMessage:
        """The headers, parsed within their size limit."""
        message: OldMessage = super().MessageClass(cast(BufferedIOBase, _Head(of[0], self.limits.head_bytes)))
        lengths = message.get_all("content-length", [])
        coding = message.get_all("transfer-encoding", [])
        if len(lengths) > 1 or any(whole_number(one, 10**18 - 1) is None for one in lengths):
            raise _HeadError(400, "Content-Length must be one number")
        if coding and (lengths or [one.strip().lower() for one in coding] != ["chunked"]):
            raise _HeadError(501, "a body comes with Content-Length, or with Transfer-Encoding: chunked")
        if len(message.get_all("host", [])) > 1:
            raise _HeadError(400, "a request names one host")
        if message.defects:
            raise _HeadError(400, "a header is not NAME: VALUE")
        return message

    def read_request(self, raw_requestline: str) -> OldMessage:
        """The head. Raises ValueError when it is not HTTP/1.0 or 1.1."""
        words = raw_requestline.split()
        if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1") or not _TOKEN.fullmatch(words[0]):
            raise _HeadError(400, "the first line is not one of HTTP/1.1")
        if not (words[1].startswith("/") or (words[0] == "OPTIONS" and words[1] == "*")):
            raise _HeadError(400, "the address does not begin with /")
        return super().read_request(raw_requestline)

    def get_environ(self) -> dict[str, Any]:
        """The WSGI environment; the head has been read in time when this is called."""
        self._clock.close()
        environ: dict[str, Any] = super().get_environ()
        # The guard reads the whole body or closes the connection, so nothing is left to discard afterwards.
        self.wsgi_input = _Nothing()  # type: ignore[assignment]
        return environ

    def _connection_upgrade_requested(self) -> bool:
        return False  # only HTTP is supported

    def handle_error(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        """A response that could not be completed. A client that left or does not read is not a server error."""
        self.close_connection = True
        if isinstance(v, OSError | Broken | gevent.GreenletExit):
            log.debug("a client left in the middle of an answer", extra=fields(client=self.client_address))
            return
        log.error("an answer failed", exc_info=(t, v, tb) if t and v else True, extra=fields(path=self.path))

    def _handle_client_error(self, error: Exception) -> Outcome:
        if isinstance(error, OSError):
            return None
        if isinstance(error, _HeadError):
            return self._refusal(error.status, str(error))
        if isinstance(error, HTTPException):  # the parser's limit of a hundred headers
            return self._refusal(431, "there are too many headers")
        return self._refusal(400, "the request cannot be understood as HTTP/1.1")

    def _refusal(self, status: int, sentence: str) -> Outcome:
        log.warning("refused a request: %s", sentence, extra=fields(status=status, client=self.client_address))
        kind, body = words_of_failure(status, sentence, page=False)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close"), *HEADERS]
        head = f"HTTP/1.1 {reason(status)}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        return self._ended((str(status), head.encode("latin-1") + b"\r\n" + body))

    def _ended(self, outcome: tuple[str, bytes]) -> Outcome:
        """Send what gevent would send after this, so that the client can be read until it has received it."""
        try:
            self.socket.sendall(outcome[1])
        except OSError:
            return None
        self._linger()
        return None

    def _linger(self) -> None:
        clock = gevent.Timeout(_LINGER_S)
        clock.start()
        left = _LINGER_BYTES
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while left > 0 and (piece := self.socket.recv(64 << 10)):
                left -= len(piece)
        except OSError:
            return
        except gevent.Timeout as late:
            if late is not clock:
                raise
        finally:
            clock.close()


class _Nothing:
    """Replaces gevent's reader for the rest of a body, of which nothing is left."""

    def _discard(self) -> None:
        return
