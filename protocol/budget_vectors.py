"""`protocol/budget_vectors.json`: what a service answers, and the budget items that a worker then reports.

`python -m protocol.budget_vectors` writes it anew. Each case has what happened on one budget, in the order of `at_ms`
(the worker's monotonic clock), and what is reported at some moments: items as in `budgets` of a message, without `who`
and `endpoint`, and whether a request may be sent. An answer has the time at which its request was sent, the worker's
wall clock at its arrival, in seconds since 1970, its status and its headers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).with_name("budget_vectors.json")
TOOMANY_SLEEP_MS: Final = 60_000
"""How long the budget rests after a 429 that does not say until when: the setting `toomany_sleep_s`."""

AT: Final = 1_700_000_000
"""The service's clock, and the worker's wall clock, when `at_ms` is 0."""
_UNANSWERED, _NO_CONNECTION = "unanswered", "no connection"

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported at a moment. An item: limit, remaining, window, reset_in_ms, unanswered, counted."""

    at_ms: int
    items: list[tuple[int, int, int, int, int, int]]
    may_ask: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """What happened, and what is reported."""

    name: str
    events: list[Event]
    reports: list[Report]


def _answer(
    at_ms: int,
    headers: dict[str, str] | None = None,
    *,
    sent_ms: int | None = None,
    status: int = 200,
    wall: int | None = None,
) -> Event:
    return {
        "at_ms": at_ms,
        "what": "answer",
        "sent_at_ms": at_ms - 500 if sent_ms is None else sent_ms,
        "wall_s": AT + at_ms // 1000 if wall is None else wall,
        "status": status,
        "headers": headers or {},
    }


def _limits(remaining: int, reset_s: int, date_s: int | None, limit: int = 15, set_by: int = 0) -> dict[str, str]:
    """Headers. `reset_s` and `date_s` count from `AT`; the service's clock is ahead by `set_by` seconds."""
    limits = {"limit": limit, "remaining": remaining, "reset": AT + reset_s + set_by}
    headers = {f"x-rate-limit-{name}": str(value) for name, value in limits.items()}
    return headers if date_s is None else headers | {"Date": formatdate(AT + date_s + set_by, usegmt=True)}


def _said(at_ms: int, remaining: int, reset_s: int, *, sent_ms: int | None = None, set_by: int = 0) -> Event:
    """A good answer with limits."""
    return _answer(at_ms, _limits(remaining, reset_s, at_ms // 1000, set_by=set_by), sent_ms=sent_ms)


def _no_answer(at_ms: int, what: str = _UNANSWERED) -> Event:
    return {"at_ms": at_ms, "what": what}


_900: Final = AT + 900

CASES: Final = [
    Case(
        "the example of docs/protocol.md",
        [
            _said(1000, 14, 900),
            _no_answer(6000),
            _said(7000, 12, 900, sent_ms=6500),
            _said(8000, 11, 900, set_by=-3600),
            _answer(9000, status=429),
        ],
        [
            Report(1000, [(15, 14, _900, 899_000, 0, 0)]),
            Report(6000, [(15, 14, _900, 894_000, 1, 0)]),
            Report(7000, [(15, 12, _900, 893_000, 1, 1)]),
            Report(8000, [(15, 11, _900, 892_000, 1, 1)]),
            Report(9000, [(15, 11, _900, 891_000, 1, 1), (15, 0, 0, 60_000, 1, 1)], may_ask=False),
            Report(900_000, [(15, 15, _900, 0, 1, 1)]),
        ],
    ),
    Case("nothing was asked yet", [], [Report(0, [])]),
    Case("the first answer", [_said(1000, 14, 900)], [Report(2000, [(15, 14, _900, 898_000, 0, 0)])]),
    Case(
        "answers overtake one another: the lowest counts",
        [_said(1000, 9, 900), _said(1000, 5, 900), _said(1500, 7, 900)],
        [Report(1500, [(15, 5, _900, 898_500, 0, 0)])],
    ),
    Case(
        "nothing is left until the window is over; then nothing is reported, and requests may be sent",
        [_said(1000, 0, 900)],
        [Report(899_000, [(15, 0, _900, 1000, 0, 0)], may_ask=False), Report(900_000, [])],
    ),
    Case(
        "the next window",
        [_said(1000, 0, 900), _said(901_000, 14, 1800)],
        [Report(901_000, [(15, 14, AT + 1800, 899_000, 0, 0)])],
    ),
    Case(
        "a later window while one runs by our clock: a higher name that ends well after it",
        [_said(1000, 2, 10), _said(9000, 14, 19)],
        [Report(9000, [(15, 14, AT + 19, 10_000, 0, 0)])],
    ),
    Case(
        "a late word of the window whose place another took: the lower of what is left",
        [_said(1000, 2, 10), _said(9000, 14, 19), _said(9500, 3, 10, sent_ms=8500)],
        [Report(9500, [(15, 3, AT + 19, 9500, 0, 0)])],
    ),
    Case(
        "the service's clock is set back: a lower name that ends with the window that runs is of it",
        [_said(1000, 9, 900), _said(2000, 4, 900, set_by=-3600)],
        [Report(2000, [(15, 4, _900, 898_000, 0, 0)])],
    ),
    Case(
        "the service's clock is set forward: a higher name that ends with the window that runs is of it, and names it",
        [_said(1000, 9, 900), _said(2000, 8, 900, set_by=3600)],
        [Report(2000, [(15, 8, _900 + 3600, 898_000, 0, 0)])],
    ),
    Case(
        "another name that ends well before the window that runs: a rest until then",
        [_said(1000, 9, 900), _said(2000, 0, 12)],
        [
            Report(2000, [(15, 9, _900, 898_000, 0, 0), (15, 0, 0, 10_000, 0, 0)], may_ask=False),
            Report(12_000, [(15, 9, _900, 888_000, 0, 0)]),
        ],
    ),
    Case(
        "a reset that jitters by a second: the later end, the lower of what is left",
        [_said(1000, 9, 900), _said(2000, 8, 901), _said(3000, 8, 900)],
        [Report(3000, [(15, 8, AT + 901, 898_000, 0, 0)])],
    ),
    Case(
        "the same name with an earlier end: the earlier end",
        [_said(1000, 9, 900), _answer(2000, _limits(8, 900, 5))],
        [Report(2000, [(15, 8, _900, 895_000, 0, 0)])],
    ),
    Case(
        "a slow answer moves no end and begins no window",
        [_said(1000, 3, 10), _answer(9000, _limits(7, 11, 1), sent_ms=1000)],
        [Report(9000, [(15, 3, AT + 11, 10_000, 0, 0)])],
    ),
    Case(
        "a slow answer of the window that is over: a rest until its end",
        [_said(1000, 3, 10), _answer(13_000, _limits(0, 10, 1), sent_ms=1000)],
        [Report(13_000, [(15, 0, 0, 9000, 0, 0)], may_ask=False), Report(22_000, [])],
    ),
    Case(
        "a name that jitters is of the window that runs, though its end is told too late",
        [_said(1000, 5, 10), _answer(2000, _limits(9, 11, -3))],
        [Report(2000, [(15, 5, AT + 11, 14_000, 0, 0)])],
    ),
    Case(
        "the name of the window that is over, of one that ends later: a window of its own",
        [_said(1000, 3, 10), _answer(12_000, _limits(2, 10, 0))],
        [Report(12_000, [(15, 2, AT + 10, 10_000, 0, 0)])],
    ),
    Case(
        "any other name once a window is over, however short it lasts: a new window",
        [_said(1000, 3, 10), _said(10_000, 6, 12)],
        [Report(10_000, [(15, 6, AT + 12, 2000, 0, 0)])],
    ),
    Case(
        "a reset that has passed by the answer's own Date: the request is in doubt",
        [_answer(1000, _limits(9, 1, 1))],
        [Report(1000, [(0, 0, 0, 0, 1, 0)])],
    ),
    Case(
        "a reset in more than 31 days: the request is in doubt",
        [_said(1000, 9, 900), _said(2000, 8, 31 * 86_400 + 3)],
        [Report(2000, [(15, 9, _900, 898_000, 1, 0)])],
    ),
    Case(
        "no Date: the worker's wall clock stands for it",
        [_answer(1000, _limits(9, 900, None))],
        [Report(1000, [(15, 9, _900, 899_000, 0, 0)])],
    ),
    Case(
        "the worker's wall clock is wrong: with a Date it plays no part",
        [_answer(1000, _limits(9, 900, 1), wall=12)],
        [Report(1000, [(15, 9, _900, 899_000, 0, 0)])],
    ),
    Case(
        "less than none is left",
        [_said(1000, -3, 900)],
        [Report(1000, [(15, 0, _900, 899_000, 0, 0)], may_ask=False)],
    ),
    Case("more than the limit is left", [_said(1000, 99, 900)], [Report(1000, [(15, 15, _900, 899_000, 0, 0)])]),
    Case(
        "a good answer without a word of limits, and none came before: the service counts nothing",
        [_answer(1000)],
        [Report(9000, [(-1, 0, 0, 0, 0, 0)])],
    ),
    Case(
        "a refusal without a word of limits, and none came before: the request is in doubt",
        [_answer(1000, status=404)],
        [Report(1000, [(0, 0, 0, 0, 1, 0)])],
    ),
    Case(
        "no word of limits of a service that counts: the request is in doubt",
        [_said(1000, 9, 900), _answer(2000)],
        [Report(2000, [(15, 9, _900, 898_000, 1, 0)])],
    ),
    Case(
        "a service that said nothing of limits begins to",
        [_answer(1000), _said(2000, 14, 900)],
        [Report(2000, [(15, 14, _900, 898_000, 0, 0)]), Report(900_000, [])],
    ),
    Case(
        "a word of limits that cannot be read: the request is in doubt",
        [_answer(1000, {"X-RateLimit-Limit": "15"})],
        [Report(1000, [(0, 0, 0, 0, 1, 0)])],
    ),
    Case(
        "a word of limits that cannot be read, and is less than nothing: a rest, too",
        [_answer(1000, {"X-RateLimit-Remaining": "-1"})],
        [Report(1000, [(1, 0, 0, 60_000, 1, 0)], may_ask=False)],
    ),
    Case(
        "429: nothing is left, whatever it says, and the rest is that of the window",
        [_answer(1000, _limits(9, 900, 1), status=429)],
        [Report(1000, [(15, 0, _900, 899_000, 0, 0)], may_ask=False), Report(900_000, [])],
    ),
    Case(
        "429 that asks for a longer rest than the window lasts: an item of its own",
        [_answer(1000, _limits(0, 900, 1) | {"Retry-After": "1000"}, status=429)],
        [
            Report(1000, [(15, 0, _900, 899_000, 0, 0), (15, 0, 0, 1_000_000, 0, 0)], may_ask=False),
            Report(900_000, [(15, 0, 0, 101_000, 0, 0)], may_ask=False),
            Report(1_001_000, []),
        ],
    ),
    Case(
        "429 without a word of when: a rest of toomany_sleep_s",
        [_answer(1000, status=429)],
        [Report(1000, [(1, 0, 0, 60_000, 0, 0)], may_ask=False), Report(61_000, [])],
    ),
    Case(
        "429 from a service that said nothing of limits: it counts after all",
        [_answer(1000), _answer(2000, status=429), _answer(70_000)],
        [Report(2000, [(1, 0, 0, 60_000, 0, 0)], may_ask=False), Report(70_000, [])],
    ),
    Case(
        "503 that says when to come back, with nothing known: a rest as asked, and the request is in doubt",
        [_answer(1000, {"Retry-After": "30"}, status=503)],
        [Report(1000, [(1, 1, 0, 30_000, 1, 0)], may_ask=False), Report(31_000, [(0, 0, 0, 0, 1, 0)])],
    ),
    Case(
        "503 that says when to come back, from a service that said nothing of limits: it still counts nothing",
        [_answer(1000), _answer(2000, {"Retry-After": "30"}, status=503)],
        [Report(2000, [(1, 1, 0, 30_000, 1, 0), (-1, 0, 0, 0, 1, 0)], may_ask=False)],
    ),
    Case(
        "503 with a date to come back at: counted from the answer's own Date",
        [
            _said(1000, 9, 900),
            _answer(
                2000,
                {"Retry-After": formatdate(AT + 92, usegmt=True), "Date": formatdate(AT + 2, usegmt=True)},
                status=503,
            ),
        ],
        [Report(2000, [(15, 9, _900, 898_000, 1, 0), (15, 0, 0, 90_000, 1, 0)], may_ask=False)],
    ),
    Case(
        "a day is the longest rest that is asked for",
        [_said(1000, 9, 900), _answer(2000, {"Retry-After": "9999999"}, status=503)],
        [Report(2000, [(15, 9, _900, 898_000, 1, 0), (15, 0, 0, 86_400_000, 1, 0)], may_ask=False)],
    ),
    Case(
        "a request that got no answer, with nothing known",
        [_no_answer(1000)],
        [Report(1000, [(0, 0, 0, 0, 1, 0)])],
    ),
    Case("no connection: nothing was sent", [_no_answer(1000, _NO_CONNECTION)], [Report(1000, [])]),
    Case(
        "a request that got no answer is counted when one that was sent after it had been given up is answered",
        [_said(1000, 9, 900), _no_answer(3000), _said(4000, 7, 900, sent_ms=3500)],
        [Report(4000, [(15, 7, _900, 896_000, 1, 1)])],
    ),
    Case(
        "one that was sent before it was given up proves nothing",
        [_said(1000, 9, 900), _no_answer(3000), _said(4000, 7, 900, sent_ms=2500)],
        [Report(4000, [(15, 7, _900, 896_000, 1, 0)])],
    ),
    Case(
        "of two, the one that was given up before",
        [_no_answer(1000), _no_answer(3000), _said(4000, 7, 900, sent_ms=2000)],
        [Report(4000, [(15, 7, _900, 896_000, 2, 1)])],
    ),
    Case(
        "an answer that says nothing of what is left ends no doubt",
        [_said(1000, 9, 900), _no_answer(3000), _answer(5000, status=503)],
        [Report(5000, [(15, 9, _900, 895_000, 2, 0)])],
    ),
    Case(
        "a 429 without a word of limits ends no doubt, and adds none",
        [_no_answer(1000), _answer(5000, status=429)],
        [Report(5000, [(1, 0, 0, 60_000, 1, 0)], may_ask=False)],
    ),
    Case(
        "doubts outlive the window, since the service may count them in the next one",
        [_said(1000, 9, 10), _no_answer(3000)],
        [Report(3000, [(15, 9, AT + 10, 7000, 1, 0)]), Report(10_000, [(15, 15, AT + 10, 0, 1, 0)])],
    ),
]


def document() -> str:
    """The whole file, as text."""
    cases = [
        {
            "name": case.name,
            "events": case.events,
            "reports": [{"at_ms": one.at_ms, "items": one.items, "may_ask": one.may_ask} for one in case.reports],
        }
        for case in CASES
    ]
    return json.dumps({"toomany_sleep_ms": TOOMANY_SLEEP_MS, "cases": cases}, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
