"""HTTP/1.1 around the service: parses requests, answers them in order, and applies faults of the transport.

Everything is bounded: the head and the body of a request, requests queued on a connection, connections. A client that
does not read gets no further responses until it does.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl

import httptools
import uvloop

from protocol.errors import TmaticError, UsageError
from protocol.stopping import set_up
from services.emulator.api.calls import Service
from services.emulator.api.http_messages import ApiAnswer, CallRefused, Cut, Request
from services.emulator.api.truth import TruthCalls

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024
MAX_CONNECTIONS = 8192
_MAX_FIELDS = 1000
_MAX_WAITING = 64
_LAST_ANSWERS_S = 2.0
_CUT_AFTER_S = 0.005
_FORM = "application/x-www-form-urlencoded"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Emulator:
    """A service on a socket, with its open connections."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._truth = TruthCalls(service)
        self.connections: set[ApiConnection] = set()
        self.stopping = False
        self._date = (0, "")

    def answer(self, request: Request) -> ApiAnswer:
        """The response to a complete request."""
        return self._truth.answer(request) or self._service.answer(request, time.time())

    def date(self) -> str:
        """The current time in the format of the Date header."""
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]

    async def serve(self, host: str, port: int, ready: Callable[[str, int], None]) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP, then finish responses. Raises `TmaticError` if it cannot listen."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: ApiConnection(self), host, port, backlog=1024)
        except OSError as error:
            raise TmaticError(_why_not(host, port, error)) from error
        except UnicodeError as error:
            raise UsageError(f"--host {host[:80]!r} is no name of a host") from error
        stop = asyncio.Event()
        set_up(loop.add_signal_handler, stop.set)
        ready(host, server.sockets[0].getsockname()[1])
        await stop.wait()
        self.stopping = True
        server.close()
        for connection in list(self.connections):
            connection.finish()
        deadline = loop.time() + _LAST_ANSWERS_S
        while self.connections and loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()


def run(service: Service, host: str, port: int, ready: Callable[[str, int], None]) -> None:
    """Serve until stopped by a signal. `ready` is called with host and port once requests are accepted."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Emulator(service).serve(host, port, ready))


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port, or 0 for any that is free."
    return f"cannot listen on {host}, port {port}: {error.strerror or error}."


class ApiConnection(asyncio.Protocol):
    """One connection: requests are parsed as they arrive and answered one after the other."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request | ApiAnswer, bool]] = deque()
        self._held: asyncio.TimerHandle | None = None
        self._writable = True
        self._ending = False
        self._pumping = False
        self._in_head = False
        self._head_bytes = 0
        self._start()

    def _start(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._too_large = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class does not inherit from asyncio's
        self._address = str(transport.get_extra_info("peername")[0])
        if len(self._emulator.connections) >= MAX_CONNECTIONS:
            self.abort()
        self._emulator.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._emulator.connections.discard(self)
        self._waiting.clear()
        self._ending = True
        if self._held:
            self._held.cancel()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._pump()

    def eof_received(self) -> bool:
        self.finish()
        return not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ending = True
        except httptools.HttpParserError:
            self._refuse(400, "The request is not HTTP/1.1.")
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.")
        elif self._too_large:
            self._refuse(self._too_large, f"The body of the request is larger than {MAX_BODY_BYTES} bytes.")
        if len(self._waiting) > _MAX_WAITING:
            self._transport.pause_reading()
        self._pump()

    # Called by the parser, in this order.

    def on_message_begin(self) -> None:
        self._start()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._headers.get("expect", "").lower() == "100-continue" and not self._waiting and not self._held:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > MAX_BODY_BYTES:
            self._too_large = 413
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._too_large or self._ending:
            return
        keep = self._parser.should_keep_alive()
        try:
            self._waiting.append((self._request(), keep))
        except CallRefused as refused:
            self._waiting.append((ApiAnswer(refused.status, refused.body), keep))

    def _request(self) -> Request:
        try:
            url = httptools.parse_url(self._url)
            pairs = parse_qsl((url.query or b"").decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
            if self._body and self._headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
                form = self._body.decode("latin-1")
                pairs += parse_qsl(form, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except (httptools.HttpParserInvalidURLError, ValueError):
            raise CallRefused(400, 195, "Missing or invalid url parameter.") from None
        path = (url.path or b"/").decode("latin-1")
        return Request(self._parser.get_method().decode("latin-1"), path, dict(pairs), self._headers, self._address)

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that cannot be parsed further, and close after the response."""
        self._waiting.append((ApiAnswer(status, CallRefused(status, 0, message).body), False))
        self._ending = True

    def _pump(self) -> None:
        """Answer queued requests while no response is delayed and the client reads."""
        if self._pumping:
            return
        self._pumping = True
        while self._waiting and self._writable and self._held is None and not self._transport.is_closing():
            asked, keep = self._waiting.popleft()
            if isinstance(asked, ApiAnswer):
                answer, with_body = asked, True
            else:
                answer, with_body = self._emulator.answer(asked), asked.method != "HEAD"
            if answer.wait_s > 0:
                self._held = self._loop.call_later(answer.wait_s, self._release, answer, keep, with_body)
            else:
                self._write(answer, keep, with_body)
        self._pumping = False
        if len(self._waiting) <= _MAX_WAITING // 4 and not self._transport.is_closing():
            self._transport.resume_reading()
        if self._ending and not self._waiting and self._held is None:
            self._transport.close()

    def _release(self, answer: ApiAnswer, keep: bool, with_body: bool) -> None:
        self._held = None
        self._write(answer, keep, with_body)
        self._pump()

    def _write(self, answer: ApiAnswer, keep: bool, with_body: bool) -> None:
        keep = keep and not self._emulator.stopping and answer.cut is None
        body = answer.body if with_body else b""
        lines = [
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}",
            f"date: {self._emulator.date()}",
            f"content-type: {answer.content_type}",
            f"content-length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        if not keep:
            lines.append("connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if answer.cut is None:
            self._transport.write(head + body if len(body) < 65536 else head)
            if len(body) >= 65536:
                self._transport.write(body)
            if not keep:
                self._end()
            return
        self._transport.write(head + body[: len(body) // 2])
        if answer.cut is Cut.TRUNCATE:
            self._end()
        else:
            # Held, so that no later response is sent on the connection that is about to be reset.
            self._held = self._loop.call_later(_CUT_AFTER_S, self._reset)

    def _end(self) -> None:
        self._waiting.clear()
        self._ending = True
        self._transport.close()

    def _reset(self) -> None:
        """Close so that the client sees a reset, not an end of stream."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def finish(self) -> None:
        """Answer the requests received, accept no more, and close."""
        self._ending = True
        if not self._transport.is_closing():
            self._pump()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
