"""The routes of the lookup: those of the original and some more for programs, and one page for people.

The database is queried in a thread, so that a slow request does not delay others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import bottle  # type: ignore[import-untyped]
import orjson
from gevent.lock import BoundedSemaphore

from protocol.errors import MalformedError
from services.http import Answered, Limits, application, base_of, blocking, failure, json_answer, json_body, says_json
from services.lookup.page import FoundProfiles, page
from services.lookup.profiles import MAX_BODY_BYTES, KnownProfile, is_short, parsed
from services.lookup.reading import Held, LookupReader
from services.lookup.store import BusyError, Store

log = logging.getLogger(__name__)

MAX_IDS: Final = 1_000
"""In one request."""

MAX_ANSWER_BYTES: Final = 64 << 20
"""Of the profiles in one response."""

LIMITS: Final = Limits(body_bytes=2 << 20)
"""A thousand ids of 255 bytes, all of them escaped, are 1.6 MB."""

_ADD_WAITS_S: Final = 5.0
_NULL: Final = b"null"
_HERE: Final = Path(__file__).parent
_FRESH: Final = {"Cache_Control": "no-cache"}

Gauges = Callable[[], tuple[float, dict[str, Any]] | None]
"""The age in seconds of the last gauges received, and their contents."""


def routes(store: Store, gauges: Gauges) -> Any:
    """The application: it writes to `store`, and reads from its file."""
    app = application()
    reading = LookupReader(store.path)
    adding = BoundedSemaphore(1)  # requests that wait for the writer must not take all the threads

    @app.get("/lookup/id/<identifier:path>")  # type: ignore[untyped-decorator]
    def by_id(identifier: str) -> Answered:
        if not _wants_history():
            return _profile(blocking(reading.by_id, identifier) if is_short(identifier) else None)
        names = blocking(reading.names, identifier) if is_short(identifier) else []
        if not names:
            return json_answer(404, _NULL, **_FRESH)
        return json_answer(200, {"id": identifier, "names": _told(names)}, **_FRESH)

    @app.get("/lookup/name/<name:path>")  # type: ignore[untyped-decorator]
    def by_name(name: str) -> Answered:
        if not _wants_history():
            return _profile(blocking(reading.by_name, name) if is_short(name) else None)
        holders = blocking(reading.holders, name) if is_short(name) else []
        if not holders:
            return json_answer(404, _NULL, **_FRESH)
        return json_answer(200, {"screen_name": name, "holders": _told(holders)}, **_FRESH)

    @app.post("/lookup/ids")  # type: ignore[untyped-decorator]
    def by_ids() -> Answered:
        found = blocking(reading.by_ids, _asked_ids(json_body()))
        if sum(len(body or b"") for body in found.values()) > MAX_ANSWER_BYTES:
            return failure(413, f"these profiles are larger than {MAX_ANSWER_BYTES:,} bytes: ask for fewer at once")
        pairs = (orjson.dumps(identifier) + b":" + (body or _NULL) for identifier, body in found.items())
        return json_answer(200, b"{" + b",".join(pairs) + b"}", **_FRESH)

    @app.post("/lookup/add")  # type: ignore[untyped-decorator]
    def add() -> Answered:
        if not says_json():
            return failure(404, "only JSON can be added")
        profile = _added()
        if not adding.acquire(timeout=_ADD_WAITS_S):
            return _busy()
        try:
            blocking(_add, store, profile)
        except BusyError:
            return _busy()
        finally:
            adding.release()
        return bottle.HTTPResponse(b"", 200)

    @app.get("/")  # type: ignore[untyped-decorator]
    def people() -> Answered:
        asked = bottle.request.query.getunicode("q") or ""
        found = blocking(_search, reading, asked) if asked.strip() else None
        text = page(blocking(reading.overview), gauges(), asked, found, base_of(bottle.request.environ))
        headers = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache"}
        return bottle.HTTPResponse(text.encode("utf-8", "replace"), 200, headers)

    for name, kind in (("openapi.json", "application/json"), ("style.css", "text/css"), ("icon.svg", "image/svg+xml")):
        app.get(f"/{name}", callback=_file((_HERE / name).read_bytes(), kind))
    return app


def _profile(body: bytes | None) -> Answered:
    """A profile as it was stored, or the original's `null`."""
    return json_answer(200 if body is not None else 404, body if body is not None else _NULL, **_FRESH)


def _wants_history() -> bool:
    said = bottle.request.query.getunicode("history") or "0"
    if said not in ("0", "1"):
        raise failure(400, "history is 1 or 0")
    return bool(said == "1")


def _asked_ids(said: Any) -> list[str]:
    if not isinstance(said, list) or len(said) > MAX_IDS:
        raise failure(400, f"the body must be a list of at most {MAX_IDS:,} ids")
    ids = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in said]
    if not all(isinstance(one, str) and is_short(one) for one in ids):
        raise failure(400, "an id is a text of 1 to 255 bytes, or a number")
    return ids


def _added() -> KnownProfile:
    """The profile in a request to add one, in the form of the original. Raises a failure."""
    said = json_body()
    for key in ("id_str", "screen_name"):
        if not isinstance(said, dict) or not isinstance(said.get(key), str) or not is_short(said[key]):
            raise failure(400, f"a profile is a JSON object with {key}, a text of 1 to 255 bytes")
    source = bottle.request.environ["wsgi.input"]
    source.seek(0)
    try:
        return parsed(source.read())
    except MalformedError as error:  # the rest is checked above
        raise failure(413, f"a profile has at most {MAX_BODY_BYTES:,} bytes") from error


def _add(store: Store, profile: KnownProfile) -> None:
    with store.writing(_ADD_WAITS_S) as writing:
        writing.add(profile)


def _busy() -> Answered:
    return failure(503, "everything is being made anew just now; try again in a minute", Retry_After="60")


def _told(lines: list[Held]) -> list[dict[str, Any]]:
    return [asdict(line) for line in lines]


def _search(reading: LookupReader, asked: str) -> FoundProfiles:
    """The result for what a person may have meant: an id, or a current or former name with or without its @."""
    text = asked.strip()
    name = text.removeprefix("@")
    body = reading.by_id(text) if is_short(text) else None
    if body is None and is_short(name):
        body = reading.by_name(name)
    profile = None if body is None else parsed(body)
    names = [] if profile is None else reading.names(profile.id)
    holders = reading.holders(name) if is_short(name) else []
    return FoundProfiles(profile, names, [one for one in holders if profile is None or one.id != profile.id])


def _file(content: bytes, kind: str) -> Callable[[], Answered]:
    def answer() -> Answered:
        return bottle.HTTPResponse(content, 200, {"Content-Type": kind, "Cache-Control": "max-age=300"})

    return answer
