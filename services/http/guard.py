"""The checks before an application: which requests are allowed, how large, and the headers that every response has.

Rules:
  * An application is called with a complete body within its size limit, or not at all.
  * Headers are UTF-8. Only cookies may be anything: a browser sends those of every program on a host (see `cookies`).
  * A page of another site can neither reach a service under its own name (DNS rebinding: `Host` must be a known name)
    nor change anything from a browser (`Sec-Fetch-Site` and `Origin` are checked unless the method is GET, HEAD or
    OPTIONS). `services.http.names` decides which names are known.
  * An unexpected error is one line with its traceback in the log, and one sentence with status 500.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any, Final

import gevent
from gevent.lock import BoundedSemaphore

from protocol.logs import fields
from services.http.answers import reason, wants_html, words_of_failure
from services.http.limits import Limits
from services.http.names import Names

log = logging.getLogger(__name__)

Environ = dict[str, Any]
Start = Callable[..., Any]
Application = Callable[[Environ, Start], Iterable[bytes]]

HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""Set on every response, unless the application set the header itself."""

UNKNOWN_NAME: Final = (
    "this server is not known under that name: ask for the address on which it listens; another name, such as that of "
    "a proxy before it, is let in by --name where the service has that"
)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MAY_BE_BYTES: Final = "HTTP_COOKIE"
_PIECE: Final = 64 << 10


class RequestRefused(Exception):
    """A request that never reaches the application. Its body may be unread, so no further request is read."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class RequestGuard:
    """A WSGI middleware around an application that is reachable under these names."""

    def __init__(self, app: Application, limits: Limits, names: Names) -> None:
        self._app = app
        self._limits = limits
        self._names = names
        self._large = BoundedSemaphore(limits.large_bodies)

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        started = False

        def start_with_headers(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            nonlocal started
            there = {name.lower() for name, _ in headers}
            headers = [*headers, *(header for header in HEADERS if header[0].lower() not in there)]
            answer = start(status, headers, error) if error else start(status, headers)
            started = True
            return answer

        try:
            self._admit(environ)
            body = self._body(environ)
            environ["wsgi.input"] = BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
            pieces = self._app(environ, start_with_headers)
            return pieces if isinstance(pieces, list | tuple) else _Watched(pieces, environ)
        except RequestRefused as refused:
            _tell(environ, refused)
            return _failure(environ, start_with_headers, refused.status, refused.sentence, cut=True)
        except Exception:
            log.exception("a request failed", extra=_about(environ))
            if started:
                raise Broken from None
            return _failure(environ, start_with_headers, 500, "something went wrong here; the log tells what")

    def _admit(self, environ: Environ) -> None:
        try:
            environ["PATH_INFO"].encode("latin-1").decode()
        except UnicodeDecodeError as error:  # bottle would skip what it cannot decode, and match another route
            raise RequestRefused(400, "the address is not UTF-8") from error
        for name, value in environ.items():
            if (name.startswith("HTTP_") or name == "CONTENT_TYPE") and name != _MAY_BE_BYTES and not _is_utf8(value):
                raise RequestRefused(400, "a header is not UTF-8")  # bottle would raise when it is read
        if "HTTP_HOST" not in environ:
            raise RequestRefused(400, "the request names no host")
        if not self._names.known(str(environ["HTTP_HOST"])):
            raise RequestRefused(403, UNKNOWN_NAME)
        if environ["REQUEST_METHOD"] not in _SAFE:
            if str(environ.get("HTTP_SEC_FETCH_SITE", "none")).lower() not in ("same-origin", "none"):
                raise RequestRefused(403, "a page of another site may not do this")
            origin = environ.get("HTTP_ORIGIN")
            if origin is not None and not self._names.own_page(str(origin), str(environ["HTTP_HOST"])):
                raise RequestRefused(403, "a page of another site may not do this")

    def _body(self, environ: Environ) -> bytes:
        """The whole body. Raises RequestRefused when it is too large, too slow, or incomplete."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > self._limits.body_bytes:
            raise self._too_large()
        if length == 0 and "HTTP_TRANSFER_ENCODING" not in environ:
            return b""
        clock = gevent.Timeout(self._limits.body_s)
        clock.start()
        try:
            if 0 < length <= _PIECE:
                return bytes(environ["wsgi.input"].read(length))
            with self._large:
                return self._read(environ["wsgi.input"])
        except gevent.Timeout as late:
            if late is not clock:
                raise
            raise RequestRefused(408, f"the body did not arrive within {self._limits.body_s:g} s") from None
        except (OSError, ValueError) as error:
            raise RequestRefused(400, "the body ended early, or is not what its headers say") from error
        finally:
            clock.close()

    def _read(self, source: Any) -> bytes:
        most, size = self._limits.body_bytes, 0
        pieces: list[bytes] = []
        while piece := source.read(min(_PIECE, most + 1 - size)):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise self._too_large()
        return b"".join(pieces)

    def _too_large(self) -> RequestRefused:
        return RequestRefused(413, f"the body is larger than {self._limits.body_bytes:,} bytes, which is the most")


class Broken(Exception):
    """A response that cannot be completed: the error was logged, and the connection is closed."""


class _Watched:
    """The chunks of a response; an error in the middle of it is logged once."""

    def __init__(self, pieces: Iterable[bytes], environ: Environ) -> None:
        self._pieces = pieces
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except Exception:
            log.exception("a request failed", extra=_about(self._environ))
            raise Broken from None

    def close(self) -> None:
        if hasattr(self._pieces, "close"):
            self._pieces.close()


def _failure(environ: Environ, start: Start, status: int, sentence: str, *, cut: bool = False) -> list[bytes]:
    kind, body = words_of_failure(status, sentence, page=wants_html(environ))
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    if cut:
        headers.append(("Connection", "close"))
    start(reason(status), headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _tell(environ: Environ, refused: RequestRefused) -> None:
    log.warning("refused a request: %s", refused.sentence, extra=_about(environ, status=refused.status))


def _about(environ: Environ, **more: object) -> dict[str, Any]:
    return fields(**more, method=environ["REQUEST_METHOD"], path=environ["PATH_INFO"][:200])


def _is_utf8(value: str) -> bool:
    """Whether a header, which the server passes as latin-1, is valid UTF-8."""
    try:
        value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True
