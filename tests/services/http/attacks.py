"""Requests that nobody in his right mind sends, for any route of any service; the same seed sends the same."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

MARK: Final = "<script>alert(1)</script>"
"""What must never come back in a page as it is."""

HOSTILE: Final = (
    *("", "0", "-1", "12", "999999999999999999999999", "1e309", "NaN", "null", "true", "[]", "{}", "user12", "@", "#"),
    *("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "....//", "\\..\\", "%00", "\x00", "\x7f", "%ff"),
    *(
        MARK,
        f'"><img src=x onerror=alert(1)>{MARK}',
        "'; DROP TABLE profile; --",
        "${7*7}",
        "{{7*7}}",
        "%s%n",
        "a" * 300,
    ),
    *("a" * 3_000, "é", "漢字", "😀", "\u202egnp", "\ud800", "a b", "a\tb", "near:1,2,3", 'near:"', "from:2012/13/45"),
    *("(" * 500, '"' * 501, "* *", "lang:", "id:1 id:2", "sort:oldest", "has:location", "\r\nX-Injected: 1", "a\nb"),
)
PARAMETERS: Final = (
    *("q", "id", "user", "first", "count", "after", "from", "to", "near", "tags", "lang", "name", "unit", "sort", "at"),
    *("user_id", "screen_name", "cursor", "max_id", "since_id", "text", "hashtag", "newest", "limit", "offset", "box"),
)
WRONG_HOSTS: Final = ("evil.example", "", "127.0.0.1:99999", "[::1")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW")
TYPES: Final = (
    "application/json",
    "text/html",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "",
    "a/b;c",
)


@dataclass(frozen=True, slots=True)
class Route:
    """A rule as bottle has it: parts in <> are filled in."""

    method: str
    rule: str

    def path(self, chance: random.Random) -> str:
        return re.sub(r"<[^>]*>", lambda _: filled(chance), self.rule)


def filled(chance: random.Random) -> str:
    """A value in a path, quoted or not."""
    value = chance.choice(HOSTILE)
    return quote(value.encode("utf-8", "surrogatepass"), safe=chance.choice(("", "/.%")))


def value(chance: random.Random, depth: int = 0) -> Any:
    """A JSON value of any form."""
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return chance.choice(HOSTILE)
    if kind == 3:
        return chance.choice((0, -1, 2**63, 2**64, 1.5, 10**40))
    if kind == 4:
        return chance.choice((None, True, False))
    if kind == 5:
        return chance.choice(("T", "F", "12"))
    if kind < 8:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    names = ("id_str", "screen_name", "jobs", "token", "ids", *HOSTILE[:5])
    return {chance.choice(names): value(chance, depth + 1) for _ in range(chance.randrange(4))}


def body(chance: random.Random) -> bytes:
    """JSON mostly, of a right or a wrong form; or what is none."""
    match chance.randrange(12):
        case 0:
            return b"[" * chance.choice((10, 5_000, 200_000))
        case 1:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
        case 2:
            return b" " * chance.choice((1, 70_000, 1_100_000))
        case 3:
            return b'{"jobs": [["T", "' + b"\xff\xfe" + b'"]]}'
        case 4:
            return b""
        case 5:
            return json.dumps(["12", "13", value(chance)]).encode()
        case 6:
            return json.dumps({"id_str": chance.choice(HOSTILE), "screen_name": chance.choice(HOSTILE)}).encode()
        case 7:
            return json.dumps(
                {"jobs": [["T", chance.choice(HOSTILE)] for _ in range(chance.choice((0, 1, 3)))]}
            ).encode()
        case 8:
            return json.dumps({"token": value(chance)}).encode()
        case _:
            whole = json.dumps(value(chance)).encode()
            return whole[: chance.randrange(len(whole) + 1)] if chance.random() < 0.3 else whole


def headers(chance: random.Random, host: str, known: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is said beside the request; now and then what only a page of ours could say."""
    said = [("Host", host if chance.random() < 0.95 else chance.choice(WRONG_HOSTS))]
    if chance.random() < 0.7:
        said.append(("Content-Type", chance.choice(TYPES)))
    if chance.random() < 0.4:
        said.append(("Accept", chance.choice(("text/html", "application/json", "*/*", "text/event-stream"))))
    for name, value in known.items():
        if chance.random() < 0.6:
            said.append((name, value if chance.random() < 0.8 else "x"))
    for name in ("Cookie", "Last-Event-ID", "If-None-Match", "Range", "X-Forwarded-For", "Accept-Encoding", "Referer"):
        if chance.random() < 0.08:
            said.append((name, chance.choice(("", "1", "-5", "a=b; c", "gzip", "bytes=0-", "x" * 500, '"', "é"))))
    return said


def attack(chance: random.Random, routes: Sequence[Route], host: str, known: Mapping[str, str]) -> tuple[Route, bytes]:
    """One request as it goes over the wire, and the route that it is meant for."""
    route = chance.choice(routes)
    method = route.method if chance.random() < 0.8 else chance.choice(METHODS)
    path = route.path(chance)
    if chance.random() < 0.05:
        path += "/" + filled(chance)
    names = [chance.choice(PARAMETERS) for _ in range(chance.randrange(4))]
    if names:
        path += "?" + "&".join(f"{name}={filled(chance)}" for name in names)
    lines = headers(chance, host, known)
    content = body(chance) if method not in ("GET", "HEAD") or chance.random() < 0.05 else None
    if content is not None:
        lines.append(("Content-Length", str(len(content))))
    clean = re.sub(r"[\x00-\x20\x7f]", lambda found: f"%{ord(found[0]):02x}", path)
    raw = [f"{method} {clean} HTTP/1.1", *(f"{name}: {value}" for name, value in lines), "Connection: close"]
    return route, "\r\n".join(raw).encode("utf-8", "replace") + b"\r\n\r\n" + (content or b"")
