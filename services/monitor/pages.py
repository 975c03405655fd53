"""The routes of the monitor: three pages, their assets, the stream, their data, and the few actions.

    /  /inspect  /user/ID             the pages, which are files; they request their data from the routes below
    /assets/…                         scripts, styles, fonts, the world's outline
    /api/stream                       events (`stream`); `Last-Event-ID` or `after` is the last line of the log it has
    /api/about  /api/course           which data is available, and the columns of the charts
    /api/dead?first&count             dead letters; POST /api/dead/requeue, /api/dead/drop {"jobs": [[operation, user]]}
    /api/search?q&author&…            posts (`search.question_of`); /api/post?id[&user] one in full, with its line
    /api/user?id                      an account; /api/user/timeline and /followers ?id&first&count its rows
    /api/session                      GET: who I am; POST {"token"}: sign in; DELETE: sign out

Blocking calls (to a master, the dataset, an index) run in other threads, so that streams continue. A slow master or
index does not delay other requests: few requests call it at once, and one that waits too long gets an error.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import bottle  # type: ignore[import-untyped]

from protocol.errors import TmaticError, UsageError
from protocol.numbers import whole_number
from services.http import Answered, CrowdedError, Turns, base_of, blocking, failure, json_answer, json_body
from services.http.answers import failures_in_words
from services.http.cookies import cookies
from services.monitor.accounts import Accounts
from services.monitor.feed import Feed
from services.monitor.guard import AccessGuard, BrowserSession
from services.monitor.lines import shown
from services.monitor.master import Job, Master
from services.monitor.search import SearchPage, question_of
from services.monitor.stream import MAX_STREAMS, PageStreams

ASSETS: Final = Path(__file__).parent / "assets"
MAX_ACTIONS: Final = 200
"""Jobs of one action."""

KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
PACKED: Final = frozenset({".html", ".js", ".css", ".json", ".svg"})
"""Files that are sent as gzip to clients that accept it: a monitor may be viewed over a slow connection."""


class Pages:
    """The application. `search` is None without an index, `graphite_url` empty without Graphite."""

    def __init__(
        self,
        feed: Feed,
        guard: AccessGuard,
        master: Master,
        accounts: Accounts,
        streams: PageStreams,
        *,
        search: SearchPage | None = None,
        graphite_url: str = "",
    ) -> None:
        self._feed, self._guard, self._master = feed, guard, master
        self._accounts, self._streams, self._search = accounts, streams, search
        self._graphite = graphite_url.rstrip("/")
        self._asking, self._acting = Turns(3, "the master"), Turns(2, "the master")
        self._searching = Turns(2, "the index")
        self._assets = {
            path.relative_to(ASSETS).as_posix(): path for path in sorted(ASSETS.rglob("*")) if path.suffix in KINDS
        }
        self._packed: dict[str, tuple[str, bytes]] = {}
        self.app = bottle.Bottle()
        self.app.config["catchall"] = False  # the guard of services.http logs and answers unexpected exceptions
        failures_in_words(self.app)
        for method, rule, route in self._routes():
            looking = rule != "/" and not rule.startswith(_OPEN)
            self.app.route(rule, method, self._guarded(route, looking=looking, api=rule.startswith("/api/")))

    def _routes(self) -> list[tuple[str, str, Callable[..., Answered]]]:
        return [
            ("GET", "/", lambda: self._page("index.html")),
            ("GET", "/inspect", lambda: self._page("inspect.html")),
            ("GET", "/user/<user:path>", lambda user: self._page("user.html")),
            ("GET", "/favicon.ico", lambda: self._asset("mark.svg")),
            ("GET", "/assets/<name:path>", self._asset),
            ("GET", "/api/stream", self._stream),
            ("GET", "/api/about", self._about),
            ("GET", "/api/course", lambda: json_answer(200, self._feed.course(), Cache_Control="no-store")),
            ("GET", "/api/dead", self._dead),
            ("POST", "/api/dead/requeue", lambda: self._act(self._master.requeue)),
            ("POST", "/api/dead/drop", lambda: self._act(self._master.drop)),
            ("GET", "/api/search", self._found),
            ("GET", "/api/post", self._post),
            ("GET", "/api/user", self._card),
            ("GET", "/api/user/timeline", lambda: self._rows(self._accounts.timeline)),
            ("GET", "/api/user/followers", lambda: self._rows(self._accounts.followers)),
            ("GET", "/api/session", self._who),
            ("POST", "/api/session", self._sign_in),
            ("DELETE", "/api/session", self._sign_out),
        ]

    # ------------------------------------------------------------------------------------------------------- the guard

    def _guarded(self, route: Callable[..., Answered], *, looking: bool, api: bool) -> Callable[..., Answered]:
        def guarded(**named: str) -> Answered:
            if looking and not self._guard.may_look(self._session()):
                return failure(401, "sign in first: the token is in the line that tmatic-monitor printed at its start")
            if api and bottle.request.get_header("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
                return failure(403, "a page of another site may not ask this")
            try:
                return route(**named)
            except CrowdedError as error:
                return failure(503, str(error), Retry_After="5")
            except UsageError as error:
                return failure(400, str(error))
            except TmaticError as error:
                return failure(503, str(error))

        return guarded

    def _session(self) -> BrowserSession | None:
        known = (self._guard.session(value) for value in cookies(bottle.request.environ, self._cookie()))
        return next(filter(None, known), None)

    def _set_cookie(self, answer: Answered, value: str, **more: Any) -> None:
        path = f"{base_of(bottle.request.environ)}/"
        answer.set_cookie(self._cookie(), value, path=path, httponly=True, samesite="strict", **more)

    @staticmethod
    def _cookie() -> str:
        """Cookies are shared by all ports of a host, so the name identifies the monitor."""
        port = urlsplit(f"//{bottle.request.get_header('Host', '')}").port or 80
        return f"tmatic-monitor-{port}"

    # ------------------------------------------------------------------------------------------------- files and events

    def _page(self, name: str) -> Answered:
        answer = self._asset(name, base_of(bottle.request.environ))
        if self._graphite:
            policy = f"default-src 'self'; img-src 'self' {_origin(self._graphite)}; frame-ancestors 'none'"
            answer.set_header(
                "Content-Security-Policy", f"{policy}; base-uri 'none'; form-action 'self'; object-src 'none'"
            )
        return answer

    def _asset(self, name: str, base: str = "") -> Answered:
        """A file; in a page `base` is prefixed to our own paths, which are the attributes that begin with `/`."""
        path = self._assets.get(name)
        if path is None:
            return failure(404, "there is nothing here under that address")
        tag = _tag(path, base)
        headers = {"Cache-Control": "no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
        if bottle.request.get_header("If-None-Match") == tag:
            return bottle.HTTPResponse(b"", status=304, headers=headers)
        headers["Content-Type"] = KINDS[path.suffix]
        body = path.read_bytes()
        if base:
            body = body.replace(b'="/', b'="' + base.encode() + b"/")
        if path.suffix in PACKED and "gzip" in bottle.request.get_header("Accept-Encoding", ""):
            if (known := self._packed.get(name)) is None or known[0] != tag:
                known = self._packed[name] = (tag, gzip.compress(body, 6))
            body, headers["Content-Encoding"] = known[1], "gzip"
        return bottle.HTTPResponse(body, headers=headers)

    def _stream(self) -> Answered:
        if self._streams.open >= MAX_STREAMS:
            return failure(503, f"{MAX_STREAMS} pages are open already: close some", Retry_After="10")
        after = bottle.request.get_header("Last-Event-ID") or _asked("after")
        in_gzip = "gzip" in bottle.request.get_header("Accept-Encoding", "")
        bottle.response.content_type = "text/event-stream; charset=utf-8"
        bottle.response.set_header("Cache-Control", "no-store")
        bottle.response.set_header("X-Accel-Buffering", "no")
        bottle.response.set_header("Vary", "Accept-Encoding")
        if in_gzip:
            bottle.response.set_header("Content-Encoding", "gzip")
        return self._streams.stream(after, in_gzip)

    def _about(self) -> Answered:
        about = {
            "search": self._search is not None,
            "graphite": self._graphite,
            "open_to_all": self._guard.open_to_all,
            "started_at": self._feed.started_at,
        }
        return json_answer(200, about, Cache_Control="no-store")

    # ----------------------------------------------------------------------------------------------------- dead letters

    def _dead(self) -> Answered:
        first, count = _number("first", 0, 10**9), _number("count", 100, 500)
        rows = self._asking.blocking(self._master.dead, first, max(1, count))
        return json_answer(200, {"rows": rows}, Cache_Control="no-store")

    def _act(self, action: Callable[[Sequence[Job]], list[str]]) -> Answered:
        if why := self._why_not():
            return failure(403, why)
        asked = json_body()
        jobs = asked.get("jobs") if isinstance(asked, Mapping) else None
        if not isinstance(jobs, list) or not 0 < len(jobs) <= MAX_ACTIONS or not all(_is_job(job) for job in jobs):
            return failure(400, f'the body is {{"jobs": [[OPERATION, USER], …]}} with 1 to {MAX_ACTIONS} jobs')
        told = self._acting.blocking(action, [(operation, user) for operation, user in jobs])
        results = [
            {"operation": operation, "user": user, "why_not": why_not}
            for (operation, user), why_not in zip(jobs, told, strict=True)
        ]
        return json_answer(200, {"results": results}, Cache_Control="no-store")

    # ----------------------------------------------------------------------------------------------- posts and accounts

    def _found(self) -> Answered:
        if self._search is None:
            return failure(503, _NO_INDEX)
        question = question_of({name: _asked(name) for name in bottle.request.query})
        found = self._searching.blocking(self._search.search, question)
        return json_answer(200, asdict(found), Cache_Control="no-store")

    def _post(self) -> Answered:
        if user := _asked("user"):
            found = blocking(self._accounts.post, user, _asked("id"))
        elif self._search is not None:
            found = self._searching.blocking(self._search.post, _asked("id"))
        else:
            return failure(503, _NO_INDEX)
        if found is None:
            return failure(404, "there is no post with this id")
        answer = {"post": shown(found), "line": found.decode("utf-8", "replace")}
        return json_answer(200, answer, Cache_Control="no-store")

    def _card(self) -> Answered:
        return _or_missing(blocking(self._accounts.card, _asked("id")), "nothing is known of this account")

    def _rows(self, rows: Callable[[str, int, int], dict[str, Any]]) -> Answered:
        first, count = _number("first", 0, 10**9), _number("count", 50, 10**9)
        return json_answer(200, blocking(rows, _asked("id"), first, count), Cache_Control="no-store")

    # --------------------------------------------------------------------------------------------------------- sessions

    def _who(self) -> Answered:
        session = self._session()
        return json_answer(200, {"csrf": session.csrf if session else ""}, Cache_Control="no-store")

    def _sign_in(self) -> Answered:
        request = bottle.request
        if why := self._guard.why_not_ours(request.headers, request.get_header("Host", "")):
            return failure(403, why)
        asked = json_body()
        token = asked.get("token") if isinstance(asked, Mapping) else None
        session = self._guard.sign_in(token) if isinstance(token, str) and len(token) <= 200 else None
        if session is None:
            return failure(403, "this is not the token that tmatic-monitor printed at its start")
        answer = json_answer(200, {"csrf": session.csrf}, Cache_Control="no-store")
        secure = request.get_header("Origin", "").lower().startswith("https:")  # our own page, as checked above
        self._set_cookie(answer, session.identifier, secure=secure)
        return answer

    def _sign_out(self) -> Answered:
        if why := self._why_not():
            return failure(403, why)
        session = self._session()
        if session is not None:
            self._guard.sign_out(session)
        answer = json_answer(200, {"csrf": ""}, Cache_Control="no-store")
        self._set_cookie(answer, "", max_age=-1, expires=0)
        return answer

    def _why_not(self) -> str:
        request = bottle.request
        return self._guard.why_not_act(self._session(), request.headers, request.get_header("Host", ""))


_OPEN: Final = ("/assets", "/favicon", "/inspect", "/user", "/api/session", "/api/about")
"""The paths that are served without signing in: the pages themselves contain no data of the crawl."""


_NO_INDEX: Final = "there is no index to search: start tmatic-indexer, and this monitor with the same settings"


def _origin(url: str) -> str:
    """The origin of a URL, as a content policy names it: without name and password, and in ASCII."""
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode()
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _text(value: str) -> str:
    """A part of a path as text; bottle passes UTF-8 as latin-1. Raises UsageError when it is not UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError as error:
        raise UsageError("the address is not UTF-8") from error


def _asked(name: str) -> str:
    """A parameter as text, "" when it is missing."""
    return _text(bottle.request.query.get(name, ""))


def _number(name: str, default: int, most: int) -> int:
    number = whole_number(_asked(name) or str(default), 10**12 - 1)
    if number is None or number > most:
        raise UsageError(f"{name} is a whole number from 0 to {most:,}")
    return number


def _is_job(job: Any) -> bool:
    return isinstance(job, list) and len(job) == 2 and all(isinstance(part, str) for part in job)


def _or_missing(found: Any, words: str) -> Answered:
    return failure(404, words) if found is None else json_answer(200, dict(found), Cache_Control="no-store")


def _tag(path: Path, base: str) -> str:
    status = path.stat()
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}{base}"'
