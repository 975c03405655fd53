"""The course of a crawl as columns for charts: each second of the last minutes, and the whole crawl downsampled.

The whole crawl is a series of buckets of one width, which doubles whenever there are too many: so a crawl of weeks is
as cheap to store and to draw as one of an hour. A bucket holds the mean of the rates and the last of the totals.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from services.monitor.reading import LETTERS

RATES: Final = ("pages_s", "records_s", "jobs_s")
TOTALS: Final = (
    "accounts",
    "records",
    "waiting",
    "parked",
    "ongoing",
    "completed",
    "dead",
    "workers",
    "busy",
    *(f"completed_{name}" for name in LETTERS),
    *(f"open_{name}" for name in LETTERS),
)
COLUMNS: Final = ("at", *RATES, *TOTALS)
"""`at` in Unix seconds; rates per second; totals at that time. `open` are the jobs waiting, parked or ongoing."""

SPEEDS: Final = {"pages": "pages", "records": "records", "jobs": "completed"}
SPEED_S: Final = 4.0
"""Seconds over which a rate is computed."""

PACE_S: Final = 10.0
"""Seconds, up to twice as many, over which the rate of a worker is computed."""

RECENT: Final = 900
"""Seconds of the last minutes that are kept individually."""
WHOLE: Final = 1_024
"""Buckets of the whole crawl before their width doubles."""

_MAX_NUMBER: Final = 1e11
"""The maximum of a time or a width in seconds, and of the points of a bucket, in a course."""

Point = tuple[float, ...]
"""A value for each of `COLUMNS`."""


def point_of(at: float, overview: Mapping[str, Any]) -> Point:
    """The point of an overview (`reading.overview`)."""
    operations = overview["operations"]

    def total(key: str) -> float:
        return float(sum(of[key] for of in operations.values()))

    values: dict[str, float] = {
        "at": round(at, 1),
        "accounts": overview["accounts"],
        "dead": overview["dead"],
        "workers": overview["crew"]["workers"],
        "busy": overview["crew"]["busy"],
    }
    for name in ("pages", "records", "jobs"):
        values[f"{name}_s"] = overview["rates"][name]
    for key in ("records", "waiting", "parked", "ongoing", "completed"):
        values[key] = total(key)
    for name, of in operations.items():
        values[f"completed_{name}"] = of["completed"]
        values[f"open_{name}"] = of["waiting"] + of["parked"] + of["ongoing"]
    return tuple(values[column] for column in COLUMNS)


class Speed:
    """Rates from the totals of the last seconds: the master's own are means over five seconds, updated as rarely."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, float]]] = deque(maxlen=32)

    def look(self, at: float, overview: dict[str, Any]) -> None:
        """Set the rates of an overview that was received at a monotonic time."""
        of = overview["operations"].values()
        totals = {name: float(sum(one[key] for one in of)) for name, key in SPEEDS.items()}
        if self._seen and any(totals[name] < self._seen[-1][1][name] for name in totals):
            self._seen.clear()  # another ledger, or one that was rolled back
        while len(self._seen) > 1 and at - self._seen[1][0] >= SPEED_S:
            self._seen.popleft()
        if self._seen and at - self._seen[0][0] > SPEED_S / 4:
            seconds, before = at - self._seen[0][0], self._seen[0][1]
            overview["rates"] = {name: round((totals[name] - before[name]) / seconds, 2) for name in totals}
        if overview["leads"]:
            self._seen.append((at, totals))


class Pace:
    """Jobs per second that each worker ends, if the master does not report it: from its earlier total."""

    def __init__(self) -> None:
        self._before: tuple[float, dict[str, float]] | None = None
        self._now: tuple[float, dict[str, float]] | None = None

    def look(self, at: float, rows: Sequence[list[Any]]) -> None:
        """Set the rates in rows of workers (`reading.workers`) that were received at a monotonic time."""
        if self._now is None or at - self._now[0] >= PACE_S:
            self._before, self._now = self._now, (at, {row[0]: row[3] for row in rows})
        if self._before is None:
            return
        since, ended = self._before
        for row in rows:
            if row[4] is None and row[0] in ended and at > since:
                row[4] = round(max(0.0, row[3] - ended[row[0]]) / (at - since), 2)


class Course:
    """The course so far. `add` takes points in the order of their times."""

    def __init__(self, recent: int = RECENT, whole: int = WHOLE) -> None:
        self._recent: deque[Point] = deque(maxlen=recent)
        self._whole: list[Point] = []
        self._counts: list[int] = []
        self._most = whole
        self.width_s = 1.0

    def add(self, point: Point) -> None:
        """Add a point. A clock that was set back restarts the last minutes."""
        if self._recent and point[0] < self._recent[-1][0]:
            self._recent.clear()
        self._recent.append(point)
        if self._whole and point[0] < self._whole[-1][0] + self.width_s:
            self._whole[-1], self._counts[-1] = _merged(self._whole[-1], self._counts[-1], point, 1)
            return
        self._whole.append(point)
        self._counts.append(1)
        if len(self._whole) > self._most:
            self._thin()

    def _thin(self) -> None:
        self.width_s *= 2
        points, counts = [self._whole[0]], [self._counts[0]]
        for point, count in zip(self._whole[1:], self._counts[1:], strict=True):
            if point[0] < points[-1][0] + self.width_s:
                points[-1], counts[-1] = _merged(points[-1], counts[-1], point, count)
            else:
                points.append(point)
                counts.append(count)
        self._whole, self._counts = points, counts
        if len(points) > self._most:
            self._thin()

    def latest(self, seconds: float) -> list[Point]:
        """The points of the last seconds, as far as they are kept individually."""
        if not self._recent:
            return []
        since = self._recent[-1][0] - seconds
        return [point for point in self._recent if point[0] >= since]

    def columns(self) -> dict[str, Any]:
        """{"columns": names, "recent": a list of values for each, "whole": likewise, "width_s": of a bucket}."""
        return {
            "columns": list(COLUMNS),
            "recent": _turned(self._recent),
            "whole": _turned(self._whole),
            "width_s": self.width_s,
        }

    def kept(self) -> dict[str, Any]:
        """The state that must be stored to continue after a restart."""
        return {"columns": list(COLUMNS), "width_s": self.width_s, "whole": [*self._whole], "counts": [*self._counts]}

    def recall(self, kept: object) -> bool:
        """Continue from the stored state, and return whether that was possible. The state of another version, with
        other columns, and an invalid one are ignored."""
        if not isinstance(kept, Mapping) or kept.get("columns") != list(COLUMNS):
            return False
        whole, counts, width_s = (kept.get(name) for name in ("whole", "counts", "width_s"))
        if not (
            isinstance(whole, list)
            and isinstance(counts, list)
            and len(counts) == len(whole) <= self._most
            and all(isinstance(point, list | tuple) and _is_point(point) for point in whole)
            and all(earlier[0] <= later[0] for earlier, later in pairwise(whole))
            and all(type(count) is int and 0 < count <= _MAX_NUMBER for count in counts)
            and isinstance(width_s, int | float)
            and 1 <= width_s <= _MAX_NUMBER
        ):
            return False
        self._whole, self._counts, self.width_s = [tuple(point) for point in whole], list(counts), float(width_s)
        return True


def _is_point(values: Sequence[Any]) -> bool:
    """Whether it has a value for each of `COLUMNS`, the first a valid time."""
    are_numbers = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    return len(values) == len(COLUMNS) and are_numbers and 0 <= values[0] <= _MAX_NUMBER


def _merged(first: Point, first_count: int, second: Point, second_count: int) -> tuple[Point, int]:
    """Two buckets merged: the first one's beginning, the mean of the rates, and the later totals."""
    count = first_count + second_count
    rates = (
        round((a * first_count + b * second_count) / count, 3)
        for a, b in zip(first[1 : 1 + len(RATES)], second[1 : 1 + len(RATES)], strict=True)
    )
    return (first[0], *rates, *second[1 + len(RATES) :]), count


def _turned(points: Sequence[Point] | deque[Point]) -> list[list[float]]:
    return [list(column) for column in zip(*points, strict=True)] if points else [[] for _ in COLUMNS]
