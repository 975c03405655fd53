"""One HTTP request: from its bind address, over a persistent connection, to one host and no other, within bounds.

With a proxy, the bound address is that towards the proxy. A service with https:// is reached through a tunnel
(CONNECT), in which the proxy sees nothing; requests to http:// are sent to the proxy. The environment is ignored.

The caller sets the time-out, interprets the response and decides on retries (`retrying_client`).
"""

from __future__ import annotations

import http.cookiejar
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from protocol.errors import TmaticError
from protocol.transport.http_routes import HttpRoutes
from worker.client.request_timeout import CallWatchdog, WatchedCalls

MAX_ANSWER_BYTES = 64 << 20
"""Bytes of a response, decompressed."""

_READ_BYTES = 1 << 20
_HEAD_WITHIN = 4
"""The connection and all headers of a response must arrive within that many time-outs."""
_WHOLE_WITHIN = 20
"""A trickling response must be complete within that many further time-outs."""
_NOT_ALLOWED = 407
"""Statuses that only a proxy returns."""
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (.*)", re.DOTALL)
_MAX_REASON = 100
"""Characters of a proxy's reason that are shown."""


class NoAnswerError(TmaticError):
    """The service did not answer completely: time-out, reset, truncated body. Worth a retry.

    `sent` is False when there was no connection, so that the service cannot have counted the request.
    """

    def __init__(self, words: str, *, sent: bool = True) -> None:
        super().__init__(words)
        self.sent = sent


class TooLargeError(TmaticError):
    """The response is larger than any legitimate one."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `params` go into the query of a GET and into the form of a POST."""

    endpoint: str
    url: str
    params: Mapping[str, str]
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What identifies it: the same for each try of the same page."""
        return f"{self.method} {self.url} {sorted(self.params.items())}"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The whole response. Header names are case-insensitive; `at` is seconds of the wall clock. `via` is the proxy, if
    it may have answered instead of the service."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    at: float
    via: str = ""


class HttpClient:
    """The connections of a worker: one for each thread and local address."""

    def __init__(self, user_agent: str, ways: HttpRoutes | None = None) -> None:
        self._user_agent = user_agent
        self._ways = ways or HttpRoutes()
        self._kept = threading.local()
        self._watch = CallWatchdog()

    def send(self, call: Call, address: str, timeout_s: float) -> HttpAnswer:
        """Send it once, from a local address ("" for any). `timeout_s` bounds each wait for the service, and a
        multiple of it the whole call.

        Raises NoAnswerError and TooLargeError. Redirects are not followed: the caller sees their status.
        """
        session, watched = self._line(address)
        within = timeout_s * _HEAD_WITHIN
        at: dict[str, Any] = {"params": call.params} if call.method == "GET" else {"data": call.params}
        proxy = self._ways.proxy(call.url)
        if proxy is not None:
            at["proxies"] = {"http": proxy.url, "https": proxy.url}
        via = proxy.place if proxy is not None else ""
        watched.begin(within)
        try:
            with session.request(
                call.method,
                call.url,
                headers=call.headers,
                timeout=timeout_s,
                allow_redirects=False,
                stream=True,
                verify=self._ways.ca_file(call.url) or True,
                **at,
            ) as response:
                if not watched.late:
                    within = timeout_s * _WHOLE_WITHIN
                    watched.go_on(within)
                body = _body(response.raw)
                if watched.late:  # a connection that was shut down looks like a short answer, also between two headers
                    raise NoAnswerError(_not_whole(within))
                if via and response.status_code == _NOT_ALLOWED:
                    raise NoAnswerError(_refused(via, f"{_NOT_ALLOWED} {response.reason or ''}"), sent=False)
                asked = via if call.url.startswith("http://") else ""
                return HttpAnswer(response.status_code, response.headers, body, time.time(), asked)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            words = _not_whole(within) if watched.late else _words(error, timeout_s, via)
            raise NoAnswerError(words, sent=not watched.connecting) from error
        finally:
            watched.end()

    def _line(self, address: str) -> tuple[requests.Session, WatchedCalls]:
        lines: dict[str, tuple[requests.Session, WatchedCalls]] | None = getattr(self._kept, "lines", None)
        if lines is None:
            lines = self._kept.lines = {}
        line = lines.get(address)
        if line is None:
            watched = self._watch.watched()
            line = lines[address] = _new_session(self._user_agent, address, watched), watched
        return line


class _Session(requests.Session):
    """Treats a redirect like any other response: to follow it, `requests` would read the body without bounds."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _BoundAdapter(HTTPAdapter):
    """Connects from one local address, one connection at a time, and registers it with the watch."""

    def __init__(self, address: str, watched: WatchedCalls) -> None:
        self._address, self._watched = address, watched
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        if self._address:
            more["source_address"] = (self._address, 0)
        super().init_poolmanager(connections, maxsize, block, **more)
        self._show(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        if proxy not in self.proxy_manager:
            if self._address:
                more["source_address"] = (self._address, 0)
            self._show(super().proxy_manager_for(proxy, **more))
        return self.proxy_manager[proxy]

    def _show(self, manager: Any) -> None:
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {name: self._shown(kind) for name, kind in pools.items()}

    def _shown(self, kind: Any) -> Any:
        """The same kind of pool, of connections that are registered with the watch."""
        watched = self._watched

        class Shown(kind.ConnectionCls):  # type: ignore[misc]
            def connect(self) -> None:
                watched.connecting = True
                try:
                    super().connect()
                except BaseException:
                    watched.connected(None)
                    raise
                watched.connecting = False
                watched.connected(self.sock)

            def _new_conn(self) -> socket.socket:
                new: socket.socket = super()._new_conn()
                watched.connects(new)
                return new

        return type(kind.__name__, (kind,), {"ConnectionCls": Shown})


def _new_session(user_agent: str, address: str, watched: WatchedCalls) -> requests.Session:
    session = _Session()
    session.trust_env = False  # no proxy, no netrc, nothing that the user did not set here
    session.headers["User-Agent"] = user_agent
    session.headers["Accept-Encoding"] = "gzip"
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    adapter = _BoundAdapter(address, watched)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _body(raw: urllib3.HTTPResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := raw.read1(_READ_BYTES, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise TooLargeError(f"an answer has more than {MAX_ANSWER_BYTES:,} bytes, and is not taken")
    return b"".join(parts)


def _not_whole(within: float) -> str:
    return f"the answer was not whole after {within:.0f} s"


def _refused(via: str, reason: str) -> str:
    said = "".join(mark if mark.isprintable() else " " for mark in reason)[:_MAX_REASON].strip()
    hint = "; a name and a password for it go into TMATIC_PROXY" if said.startswith(str(_NOT_ALLOWED)) else ""
    return f"the proxy {via} refuses: {said}{hint}"


def _words(error: Exception, timeout_s: float, via: str) -> str:
    """The error as a readable message: the library's messages are nested class names."""
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    if via and (refusal := _NO_TUNNEL.search(str(cause))):
        return _refused(via, refusal[1])
    if isinstance(error, requests.exceptions.SSLError):
        return f"no secure connection: {str(error)[-200:]}"
    by = f" through the proxy {via}" if via else ""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return f"no answer within {timeout_s:.1f} s{by}"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return f"the answer broke off before its end{by}"
    if isinstance(error, requests.ConnectionError):
        to = f" to the proxy {via}" if isinstance(error, requests.exceptions.ProxyError) else by
        return f"no connection{to}: {getattr(cause, 'strerror', None) or cause}"
    return f"the answer cannot be read: {error}"
