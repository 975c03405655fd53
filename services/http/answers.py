"""Responses for programs and for people: JSON, or a small page if HTML is requested. An error is one sentence."""

from __future__ import annotations

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import bottle  # type: ignore[import-untyped]
import orjson

Answered = Any
"""What a bottle route may return: bytes, or one of bottle's response objects, which have no types."""

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"

_PAGE: Final = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n'
    "</head><body><h1>{title}</h1><p>{sentence}</p></body></html>\n"
)


def reason(status: int) -> str:
    """A status with its reason phrase, for instance `404 Not Found`."""
    return f"{status} {HTTPStatus(status).phrase}"


def wants_html(environ: Mapping[str, Any]) -> bool:
    """Whether the client shows pages to a person, which browsers indicate in `Accept`."""
    return "text/html" in str(environ.get("HTTP_ACCEPT", "")).lower()


def words_of_failure(status: int, sentence: str, *, page: bool) -> tuple[str, bytes]:
    """The content type and the body of a failure: `{"error": SENTENCE}`, or a page."""
    if page:
        text = _PAGE.format(title=html.escape(reason(status)), sentence=html.escape(sentence))
        return HTML, text.encode("utf-8", "replace")
    try:
        return JSON, orjson.dumps({"error": sentence}) + b"\n"
    except orjson.JSONEncodeError:  # a lone surrogate, which is not valid text
        return JSON, orjson.dumps({"error": sentence.encode("utf-8", "replace").decode()}) + b"\n"


def json_answer(status: int, document: Any, **headers: str) -> Answered:
    """A JSON response. `document` is bytes that are JSON already, or an object that orjson can serialise."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return bottle.HTTPResponse(body, status=status, headers={"Content-Type": JSON, **named})


def failure(status: int, sentence: str, **headers: str) -> Answered:
    """A response whose one sentence describes the error; may be returned or raised."""
    kind, body = words_of_failure(status, sentence, page=wants_html(bottle.request.environ))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return bottle.HTTPResponse(body, status=status, headers={"Content-Type": kind, **named})


def json_body() -> Any:
    """The JSON document in the request body. Raises a failure: 415 for another type, 400 for bad JSON."""
    if not says_json():
        raise failure(415, f"the body must be {JSON}")
    try:
        return orjson.loads(bottle.request.environ["wsgi.input"].read())
    except orjson.JSONDecodeError as error:
        raise failure(400, f"the body is not JSON: {error}") from error


def says_json() -> bool:
    """Whether the request declares its body as JSON."""
    return str(bottle.request.content_type).partition(";")[0].strip().lower() == JSON


def application() -> Any:
    """A bottle application for this project: its own errors are one sentence, unexpected ones are left to the guard."""
    app = bottle.Bottle()
    failures_in_words(app)
    return app


def failures_in_words(app: Any) -> None:
    """Let a bottle application answer its own errors (no such route, method not allowed) as `failure` does, and leave
    unexpected ones to the guard. `application` calls this."""

    def answer(error: Any) -> bytes:
        status = int(error.status_code)
        sentence = {
            404: "there is nothing here under that address",
            405: f"{bottle.request.method} is not possible here; {error.get_header('Allow', 'nothing')} is",
        }.get(status, str(error.body or HTTPStatus(status).phrase))
        kind, body = words_of_failure(status, sentence, page=wants_html(bottle.request.environ))
        bottle.response.content_type = kind
        return body

    app.config["catchall"] = False
    app.default_error_handler = answer
