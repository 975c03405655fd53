"""The feed of a replay: a recording from one time to another, at the original or another speed, shifted in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.errors import UsageError
from services.stats.carbon.connection import MAX_POINTS
from services.stats.carbon.delivery import Batch
from services.stats.recording.points import Oddities, Point, points_of

SLOT_S: Final = 60
"""Times are shifted by multiples of this, so that points stay together in the slots of usual retentions."""

DISORDER_S: Final = 10
"""Gauges wait for a common commit, so lines up to this much later may precede them."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The points to send: `ends` is the second after the last point."""

    points: int
    begins: int
    ends: int
    odd: Oddities


def survey(path: Path, begins: int, ends: int, names: Container[bytes] | None = None) -> Survey:
    """Survey a recording, or only the points with these names in it.

    Raises UsageError when it has no points in that range of unix times.
    """
    odd, count, first, last = Oddities(), 0, 1 << 62, 0
    for point in points_of(path, odd, names):
        if begins <= point.at < ends:
            count, first, last = count + 1, min(first, point.at), max(last, point.at)
    if not count:
        raise UsageError(f"{path} has no points in that time")
    return Survey(count, first, last + 1, odd)


def shift_to(end: int, survey: Survey) -> int:
    """The seconds by which to shift times so that the last point is just before `end`."""
    return math.floor((end - survey.ends) / SLOT_S) * SLOT_S


class Replaying:
    """Places are numbers of points within the range. `speed` is how many seconds of the recording pass in one second;
    infinite does not wait. `told(points sent, unix time of the recording)` is called after each batch."""

    def __init__(
        self,
        path: Path,
        survey: Survey,
        *,
        shift: int,
        speed: float,
        told: Callable[[int, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._survey, self._shift, self._speed = path, survey, shift, speed
        self._told, self._clock = told, clock
        self._begun_at: float | None = None
        self._next = 0
        self._points: Iterator[Point] = iter(())
        self._held: Point | None = None
        self._times: dict[int, int] = {}
        self._open()

    def read(self, place: int) -> Batch | None:
        """The next points; those of one second at most, except at full speed."""
        if place != self._next:
            self._open()
            while self._next < place and self._take() is not None:
                self._next += 1
        batch: list[Point] = []
        while len(batch) < MAX_POINTS and (point := self._take()) is not None:
            if batch and point.at != batch[-1].at - self._shift and math.isfinite(self._speed):
                self._held = point
                break
            batch.append(Point(point.name, point.value, point.at + self._shift))
            self._next += 1
        if not batch:
            if not self.ended(place):
                raise UsageError(f"{self._path} has fewer points than it had: is it being replaced?")
            return None
        self._told(place, batch[0].at - self._shift)
        self._times[self._next] = batch[-1].at - self._shift
        return Batch(batch, self._next, self._wait_s(batch[0].at - self._shift))

    def ended(self, place: int) -> bool:
        """Whether all was read."""
        return place >= self._survey.points

    def reached(self, place: int) -> int:
        """The first second that is not sent completely when everything before a place is sent."""
        at = self._survey.begins
        for number in [number for number in self._times if number <= place]:
            at = max(at, self._times.pop(number))
        return self._survey.ends if self.ended(place) else max(self._survey.begins, at - DISORDER_S)

    def _open(self) -> None:
        begins, ends = self._survey.begins, self._survey.ends
        self._points = (point for point in points_of(self._path, Oddities()) if begins <= point.at < ends)
        self._next, self._held = 0, None

    def _take(self) -> Point | None:
        if self._next >= self._survey.points:
            return None  # Points that a live writer has added since are not part of this replay.
        held, self._held = self._held, None
        return held if held is not None else next(self._points, None)

    def _wait_s(self, at: int) -> float:
        if self._begun_at is None:
            self._begun_at = self._clock()
        due = self._begun_at + (at - self._survey.begins) / self._speed
        return max(0.0, due - self._clock())
