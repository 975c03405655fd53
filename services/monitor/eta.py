"""The remaining time of a crawl, as far as it can be estimated, else a sentence why it cannot.

The remaining work is counted in steps: every job that is waiting, parked or under way, and those that follow it in its
chain. A crawl finds new accounts while it processes others, so only the decrease of the remaining work is significant:
the steps left divided by their rate of decrease, over a short and a long period. The two give a range, not a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.monitor.course import COLUMNS, Point
from services.monitor.reading import LETTERS

SHORT_S: Final = 60.0
"""A crawl without progress for so long is stalled."""
LONG_S: Final = 600.0
MIN_WATCHED_S: Final = 20.0
"""No estimate is made from less."""
MAX_OUTLOOK_S: Final = 400 * 86_400.0
"""Longer estimates are shown as 'more than a year'."""


@dataclass(frozen=True, slots=True)
class Eta:
    """`kind` is one of none, idle, early, grows, stalled, unknown, estimate, done; `words` is its text. `low_s` and
    `high_s` are the range of an estimate in seconds, None for more than a year; `left` the steps that are left."""

    kind: str
    words: str
    left: float = 0
    low_s: float | None = None
    high_s: float | None = None


def steps_left(overview: Mapping[str, Any]) -> float:
    """The known steps that are left: chains counted to their ends."""
    chain = overview["plan"].get("operations") or ""
    left = float(overview["resting"])
    for name, letter in LETTERS.items():
        of = overview["operations"][name]
        follow = len(chain) - chain.index(letter) if letter in chain else 1
        left += (of["waiting"] + of["parked"] + of["ongoing"]) * follow
    return left


def _left_at(point: Point, chain: str) -> float:
    left = 0.0
    for name, letter in LETTERS.items():
        follow = len(chain) - chain.index(letter) if letter in chain else 1
        left += point[COLUMNS.index(f"open_{name}")] * follow
    return left


def outlook(overview: Mapping[str, Any], latest: Sequence[Point]) -> Eta:
    """The current estimate. `latest` are the points of the last `LONG_S` seconds or less."""
    if not overview["leads"]:
        return Eta("none", "nobody leads")
    left = steps_left(overview)
    done = sum(of["completed"] for of in overview["operations"].values())
    if not left:
        return Eta("done", "all that was known is done") if done else Eta("idle", "nothing to do yet")
    if not overview["crew"]["workers"]:
        return Eta("stalled", "cannot be told: there are no workers", left)
    watched = latest[-1][0] - latest[0][0] if latest else 0.0
    if watched < MIN_WATCHED_S:
        return Eta("early", f"too early to tell: watched for {watched:.0f} s", left)
    if not _moved(latest):
        return Eta("stalled", _why_stalled(overview, min(watched, SHORT_S)), left)
    if latest[-1][_COMPLETED] == latest[0][_COMPLETED]:
        words = f"cannot be told: pages come in, but no job ended in the last {watched:.0f} s"
        return Eta("unknown", words, left)
    chain = overview["plan"].get("operations") or ""
    falls = [_fall(latest, seconds, chain) for seconds in (SHORT_S, LONG_S)]
    times = sorted(left / fall for fall in falls if fall > 0)
    if falls[-1] <= 0 or not times:
        return Eta("grows", "cannot be told: accounts are found faster than they are finished", left)
    low, high = times[0], times[-1]
    if high > MAX_OUTLOOK_S:
        return Eta("estimate", "more than a year at this rate", left)
    return Eta("estimate", "at the rates of the last minutes", left, max(1, round(low)), max(1, round(high)))


_COMPLETED: Final = COLUMNS.index("completed")
_PAGES_S: Final = COLUMNS.index("pages_s")


def _moved(points: Sequence[Point]) -> bool:
    """Whether a job ended or a page arrived within the short period."""
    since = points[-1][0] - SHORT_S
    chosen = [point for point in points if point[0] >= since]
    return chosen[-1][_COMPLETED] != chosen[0][_COMPLETED] or any(point[_PAGES_S] > 0 for point in chosen)


def _fall(points: Sequence[Point], seconds: float, chain: str) -> float:
    """The decrease of the remaining steps per second, by least squares over the last seconds."""
    since = points[-1][0] - seconds
    chosen = [point for point in points if point[0] >= since]
    times = [point[0] - since for point in chosen]
    lefts = [_left_at(point, chain) for point in chosen]
    middle, mean = sum(times) / len(times), sum(lefts) / len(lefts)
    spread = sum((time - middle) ** 2 for time in times)
    if not spread:
        return 0.0
    return -sum((time - middle) * (left - mean) for time, left in zip(times, lefts, strict=True)) / spread


def _why_stalled(overview: Mapping[str, Any], watched: float) -> str:
    parked = sum(of["parked"] for of in overview["operations"].values())
    resets = [row[4] for row in overview["budgets"] if row[4] is not None and not row[1]]
    if parked and resets:
        return f"cannot be told: waiting for budgets, the next in {min(resets):.0f} s"
    if overview["state"] == "draining":
        return "cannot be told: the crawl is draining"
    return f"cannot be told: no page came and no job ended in the last {watched:.0f} s"
