"""The master's document as the pages show it: every key is present, whatever the master left out.

Rules:
  * A key that is missing or has the wrong type gets its empty value; nothing here raises.
  * Texts and lists have a maximum length, so that no document makes a page too large for a browser.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from protocol.jobs import OPERATIONS

LETTERS: Final = {words.name: operation.value for operation, words in OPERATIONS.items()}
"""The operations as the document names them, and their letters."""

COUNTS: Final = ("waiting", "parked", "ongoing", "completed", "dead", "pages", "records")
MAX_WORKERS: Final = 20_000
MAX_JOBS: Final = 64
"""Jobs of one worker that are shown."""
MAX_BUDGETS: Final = 500
MAX_NEXT: Final = 20
MAX_COUNTED: Final = 40
MAX_TEXT_LENGTH: Final = 300
"""Characters of a text."""
MAX_BUDGET_LENGTH: Final = 160
"""Characters of the name of a budget."""
DIGEST_DIGITS: Final = 16

BUSY_S: Final = 3.0
"""A worker without messages for longer is shown as silent."""


def number(of: Any, key: str) -> float:
    """A finite number, 0 when there is none."""
    found = maybe(of, key)
    return 0 if found is None else found


def maybe(of: Any, key: str) -> float | None:
    """A finite number that JSON can carry, None when there is none."""
    value = of.get(key) if isinstance(of, dict) else None
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def moment(said: Any) -> float | None:
    """Unix seconds of a time that is given in them or as ISO 8601, None for neither."""
    if isinstance(said, str):
        try:
            return datetime.fromisoformat(said).timestamp()
        except ValueError:
            return None
    return maybe({"at": said}, "at")


def text(of: Any, key: str) -> str:
    """A text of at most `MAX_TEXT_LENGTH` characters, "" when there is none."""
    value = of.get(key) if isinstance(of, dict) else None
    return "" if value is None or isinstance(value, dict | list) else clipped(str(value))


def clipped(value: str, most: int = MAX_TEXT_LENGTH) -> str:
    """The text, truncated with an ellipsis if it is too long."""
    return value if len(value) <= most else value[: most - 1] + "…"


def named(value: str, most: int) -> str:
    """A name of at most so many characters; a truncated one ends in a digest, so that names stay distinct."""
    if len(value) <= most:
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]
    return f"{value[: most - DIGEST_DIGITS - 1]}…{digest}"


def mapping(of: Any, key: str) -> Mapping[str, Any]:
    """An object, an empty one when there is none."""
    value = of.get(key) if isinstance(of, dict) else None
    return value if isinstance(value, dict) else {}


def items(of: Any, key: str, most: int) -> list[Any]:
    """At most so many items of a list, none when there is no list."""
    value = of.get(key) if isinstance(of, dict) else None
    return list(value[:most]) if isinstance(value, list | tuple) else []


def overview(document: Mapping[str, Any], crew: Sequence[list[Any]] | None = None) -> dict[str, Any]:
    """The whole document but its individual workers; `crew` are their rows (`workers`), if they exist already."""
    dead = document.get("dead")
    log = mapping(document, "log")
    crew = workers(document) if crew is None else crew
    return {
        "crawl": text(document, "crawl"),
        "state": text(document, "state"),
        "trouble": text(document, "trouble"),
        "leads": bool(mapping(document, "operations")),
        "masters": _masters(document),
        "plan": {
            key: text(mapping(document, "plan"), key) for key in ("operations", "traversing", "depth", "updating")
        },
        "operations": _operations(document),
        "accounts": number(document, "accounts"),
        "collected": number(document, "collected"),
        "resting": number(document, "resting"),
        "dead": len(dead) if isinstance(dead, list) else number(document, "dead"),
        "rates": {key: number(mapping(document, "rates"), key) for key in ("pages", "records", "jobs")},
        "counted": _counted(document),
        "budgets": _budgets(document.get("budgets"), MAX_BUDGETS),
        "consumers": [
            {"name": text(one, "name"), "sequence": number(one, "sequence"), "lag": number(one, "lag")}
            for one in items(document, "consumers", 50)
        ],
        "log": {key: number(log, key) for key in ("first", "head", "bytes")} if log else None,
        "crew": _crew(crew),
    }


def _counted(document: Mapping[str, Any]) -> dict[str, float]:
    """The leader's own counters, and the malformed frames that it dropped, by kind."""
    shown = {str(key): number(mapping(document, "counted"), key) for key in mapping(document, "counted")}
    dropped = mapping(document, "dropped")
    shown |= {f"frames dropped, {key}": number(dropped, key) for key in dropped}
    return {named(key, 60): shown[key] for key in list(shown)[:MAX_COUNTED]}


def _operations(document: Mapping[str, Any]) -> dict[str, Any]:
    there, following = mapping(document, "operations"), mapping(document, "next")
    read: dict[str, Any] = {}
    for name, letter in LETTERS.items():
        of = mapping(there, name)
        line = items(following, name, MAX_NEXT) or items(following, letter, MAX_NEXT)
        read[name] = {key: number(of, key) for key in COUNTS}
        read[name]["next"] = [
            [clipped(str(row[0])), int(row[1]) if len(row) > 1 and isinstance(row[1], int) else 0, _cursor(row)]
            for row in line
            if isinstance(row, list | tuple) and row
        ]
    return read


def _cursor(row: Any) -> str:
    return clipped(str(row[2]), 60) if len(row) > 2 and row[2] is not None else ""


def _masters(document: Mapping[str, Any]) -> dict[str, Any]:
    pair = mapping(document, "pair")
    leader = mapping(document, "leader")
    return {
        "leader": text(leader, "name"),
        "role": text(document, "role"),
        "epoch": number(document, "epoch") or number(leader, "epoch"),
        "beat": number(document, "beat"),
        "why": text(document, "why"),
        "pair": {
            "number": number(pair, "number"),
            "address": text(pair, "address"),
            "peer": text(pair, "peer"),
            "silent": bool(pair.get("peer_silent")),
            "peer_leads": bool(pair.get("peer_leads")),
            "peer_epoch": number(pair, "peer_epoch"),
            "peer_workers": number(pair, "peer_workers"),
        }
        if pair
        else None,
        "takeovers": [
            {"ago_s": number(one, "ago_s"), "epoch": number(one, "epoch"), "why": text(one, "why")}
            for one in items(document, "takeovers", 10)
        ],
    }


def _budgets(given: Any, most: int) -> list[list[Any]]:
    """Rows of [key, available, limit, outstanding, seconds until it resets or None, in doubt]."""
    if isinstance(given, dict):
        pairs = [(str(key), of) for key, of in list(given.items())[:most]]
    elif isinstance(given, list):
        pairs = [(_key_of(of), of) for of in given[:most]]
    else:
        return []
    return [
        [
            named(key, MAX_BUDGET_LENGTH),
            _least(maybe(of, "available"), maybe(of, "remaining")),
            maybe(of, "limit"),
            number(of, "outstanding"),
            maybe(of, "resets_in_s"),
            number(of, "in_doubt"),
        ]
        for key, of in pairs
    ]


def _key_of(of: Any) -> str:
    if isinstance(of, str):
        return of
    return text(of, "key") or " ".join(filter(None, (text(of, "who"), text(of, "endpoint"))))


def _least(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


def workers(document: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of [name, address, room, completed, rate or None, seconds of silence, jobs, budgets]; a job is
    [operation, account, page or None, seconds without progress or None]. Short, since a thousand go out a second."""
    budgets = mapping(document, "budgets")
    rows = []
    for of in items(document, "workers", MAX_WORKERS):
        own = of.get("budgets") if isinstance(of, dict) else None
        if isinstance(own, list) and all(isinstance(key, str) for key in own):
            own = {key: budgets.get(key) for key in own[:MAX_JOBS]}
        rate = maybe(of, "rate")
        rows.append(
            [
                text(of, "name"),
                text(of, "address"),
                number(of, "room"),
                number(of, "completed"),
                None if rate is None else round(rate, 1),
                round(number(of, "silent_s"), 1),
                [_job(job) for job in items(of, "in_hand", MAX_JOBS) or items(of, "jobs", MAX_JOBS)],
                _budgets(own, MAX_JOBS),
            ]
        )
    return rows


def _job(job: Any) -> list[Any]:
    if isinstance(job, str):
        operation, _, user = job.partition(" ")
        return [operation[:1], clipped(user), None, None]
    page, idle = maybe(job, "page"), maybe(job, "idle_s")
    return [text(job, "operation")[:1], text(job, "user"), page, None if idle is None else round(idle, 1)]


def state_of(row: list[Any]) -> str:
    """The state of a worker, from its row: silent, busy or idle."""
    return "silent" if row[5] > BUSY_S else "busy" if row[6] else "idle"


def _crew(rows: Sequence[list[Any]]) -> dict[str, Any]:
    states = [state_of(row) for row in rows]
    return {
        "workers": len(rows),
        "busy": states.count("busy"),
        "idle": states.count("idle"),
        "silent": states.count("silent"),
        "jobs": sum(len(row[6]) for row in rows),
        "room": sum(row[2] for row in rows),
    }
