"""The HTTP client of a search server: Elasticsearch from 7 on, or OpenSearch.

Rules:
  * an overloaded (429) or unavailable server is retried: after Retry-After, else after twice as long each time;
  * a writer waits until the server is back and logs once that it waits; a reader raises at once, with one sentence;
  * an answer has a size limit and a time limit; redirects are not followed;
  * servers other than Elasticsearch from 7 on or OpenSearch are refused with a message.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit, urlunsplit

import orjson
import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import LocationValueError

from protocol.backoff import Backoff
from protocol.errors import UsageError
from protocol.logs import fields
from protocol.numbers import whole_number
from protocol.transport.http_routes import HttpRoutes
from services.indexer.index import IndexingError

CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
MAX_ANSWER_BYTES: Final = 64 << 20
"""Bytes."""

FIRST_WAIT_S: Final = 0.2
MAX_WAIT_S: Final = 30.0
OLDEST_ELASTICSEARCH: Final = 7

_LATER: Final = frozenset((429, 502, 503, 504))
_ENOUGH: Final = 300
"""Characters of a server's error message that are passed on."""

log = logging.getLogger(__name__)


class AwayError(IndexingError):
    """The search server cannot be reached, or reports that it is unavailable."""


@dataclass(frozen=True, slots=True)
class ServerReply:
    """A server's response: the status, and the decoded JSON."""

    status: int
    value: Any


class Waiting:
    """How long to wait before the next try: the server's Retry-After, else twice as long each time."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_WAIT_S, MAX_WAIT_S)

    def seconds(self, asked: str | None = None) -> float:
        """Seconds before the next try; `asked` is the value of Retry-After."""
        if asked and asked.strip().isdecimal():
            return min(float(asked), MAX_WAIT_S)
        return self._backoff.next()


class SearchServer:
    """A search server at a URL, which may hold a name and a password. `patient`: wait while it is unavailable. `ways`
    has the trusted authorities; neither they nor a proxy are taken from the environment."""

    def __init__(
        self, url: str, *, patient: bool, wait: Callable[[float], None] = time.sleep, ways: HttpRoutes | None = None
    ) -> None:
        parts = _parts(url)
        self._url = self.shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._patient = patient
        self._wait = wait
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = (ways or HttpRoutes()).ca_file(self._url) or True
        if parts.username or parts.password:
            name, password = (unquote_to_bytes(said or "") for said in (parts.username, parts.password))
            self._session.auth = HTTPBasicAuth(name, password)  # as bytes: text would have to be Latin-1
        self._away = False
        self.version = ""

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def greet(self) -> str:
        """The product and version, for instance `opensearch 2.19.6`. Raises IndexingError when it is too old, or
        another product."""
        value = self.ask("GET", "/").value
        version = value.get("version") if isinstance(value, dict) else None
        number = str(version.get("number", "")) if isinstance(version, dict) else ""
        major = whole_number(number.partition(".")[0], 10**9)
        if not isinstance(version, dict) or major is None:
            raise IndexingError(
                f"{self.shown} is neither Elasticsearch nor OpenSearch: put the right URL in elasticsearch_url"
            )
        name = str(version.get("distribution") or "elasticsearch")
        if name == "elasticsearch" and major < OLDEST_ELASTICSEARCH:
            raise IndexingError(
                f"{self.shown} is Elasticsearch {number[:20]}, and {OLDEST_ELASTICSEARCH} or later, or OpenSearch, is "
                "needed: bring it up to date, or leave elasticsearch_url empty for a local index"
            )
        self.version = f"{name[:40]} {number[:20]}"
        return self.version

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        lines: bytes | None = None,
        good: tuple[int, ...] = (200, 201),
    ) -> ServerReply:
        """Send `body` as JSON, or `lines` unchanged; the status of the reply is one of `good`.

        Raises IndexingError with the server's message for another one, AwayError when it is unavailable and `patient`
        is not set.
        """
        data = lines if lines is not None else None if body is None else orjson.dumps(body)
        kind = "application/x-ndjson" if lines is not None else "application/json"
        waiting = Waiting()
        while True:
            asked_s = None
            try:
                with self._session.request(
                    method,
                    self._url + path,
                    data=data,
                    headers={"Content-Type": kind, "Accept": "application/json"},
                    timeout=(CONNECT_S, ANSWER_S),
                    stream=True,
                    allow_redirects=False,
                ) as answer:
                    raw = _limited(answer, self.shown)
                    status, asked_s = answer.status_code, answer.headers.get("Retry-After")
                why = f"it answers {status}"
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                status, why = 503, _why(error)
            except (requests.RequestException, LocationValueError) as error:
                raise IndexingError(f"{self.shown} cannot be asked: {_why(error)}") from error
            if status not in _LATER:
                self._is_back()
                return self._reply(status, raw, path, good)
            if not self._patient:
                raise AwayError(f"the search server {self.shown} is away ({why}): start it, or try again later")
            self.pause(waiting, asked_s, why)

    def pause(self, waiting: Waiting, asked_s: str | None, why: str) -> None:
        """Wait before the next try, and log it the first time."""
        if not self._away:
            log.warning("the search server is away or busy; waiting for it", extra=fields(url=self.shown, why=why))
            self._away = True
        self._wait(waiting.seconds(asked_s))

    def _is_back(self) -> None:
        if self._away:
            log.info("the search server works again", extra=fields(url=self.shown))
            self._away = False

    def _reply(self, status: int, raw: bytes, path: str, good: tuple[int, ...]) -> ServerReply:
        if status in (401, 403):
            raise IndexingError(
                f"{self.shown} refuses us ({status}): put a name and a password that may read and write into "
                "elasticsearch_url, as http://NAME:PASSWORD@HOST:9200"
            )
        try:
            value = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError as error:
            raise IndexingError(f"{self.shown} does not answer as Elasticsearch does, but with {raw[:40]!r}") from error
        if status not in good:
            said = value.get("error") if isinstance(value, dict) else value
            words = orjson.dumps(said).decode()[:_ENOUGH]
            raise IndexingError(f"{self.shown} answers {status} to {path[:80]}: {words}")
        return ServerReply(status, value)


def _parts(url: str) -> SplitResult:
    """The parts of a URL. Raises UsageError when it cannot be used for requests; a password is not shown."""
    try:
        parts = urlsplit(url.rstrip("/"))
        usable = parts.port != 0 and bool((parts.hostname or "").encode("idna")) and url.isprintable()
    except ValueError:  # an unmatched bracket, a port that is not a number, an invalid host
        usable = False
    if usable and parts.username is not None and not (parts.username and parts.password):
        raise UsageError(
            "elasticsearch_url has an empty name or password: write both, as http://NAME:PASSWORD@HOST:9200"
        )
    if not usable:
        shown = url.rpartition("@")[2]
        raise UsageError(f"elasticsearch_url must be a URL such as http://HOST:9200, not {shown[:80]!r}")
    return parts


def _limited(answer: requests.Response, shown: str) -> bytes:
    parts = []
    size = 0
    for part in answer.iter_content(64 << 10):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise IndexingError(f"{shown} answers with more than {MAX_ANSWER_BYTES:,} bytes")
    return b"".join(parts)


def _why(error: Exception) -> str:
    """The innermost reason, as the system reports it; the library's wrapping means nothing to people."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    words = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return words[:_ENOUGH] or type(error).__name__
