"""The data of a recording for a chart: counters and gauges by name, downsampled to the visible number of steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.stats.carbon.replay_feed import Survey
from services.stats.recording.points import Oddities, points_of

MAX_STEPS: Final = 360
"""Steps of time in a chart."""


@dataclass(frozen=True, slots=True)
class Series:
    """The last value of each wanted name in each step; `nan` where there was none. `begins` is a unix time."""

    begins: int
    step_s: float
    values: dict[str, list[float]]

    @property
    def times(self) -> list[float]:
        """The unix time at which each step ends."""
        steps = max((len(values) for values in self.values.values()), default=0)
        return [self.begins + (number + 1) * self.step_s for number in range(steps)]

    def has(self, names: Iterable[str]) -> bool:
        """Whether any of these was ever above zero."""
        return any(value > 0 for name in names for value in self.values.get(name, ()))

    def gauge(self, name: str) -> list[float]:
        """Its values; a step without one has that of the step before, since no change was reported."""
        known = math.nan
        filled = []
        for value in self.values.get(name, ()):
            known = known if math.isnan(value) else value
            filled.append(known)
        return filled

    def rate(self, name: str) -> list[float]:
        """The growth of a counter per second, in each step. A counter that fell was reset, which is not growth; over
        a gap without values it grew evenly."""
        found = [math.nan] * len(self.values.get(name, ()))
        before: tuple[int, float] | None = None
        for number, value in enumerate(self.values.get(name, ())):
            if math.isnan(value):
                continue
            if before is not None:
                grown = max(0.0, value - before[1]) / ((number - before[0]) * self.step_s)
                found[before[0] + 1 : number + 1] = [grown] * (number - before[0])
            before = number, value
        return found

    def jumps(self, name: str) -> list[float]:
        """The unix times at which a counter grew."""
        values = self.gauge(name)
        pairs = zip(self.times[1:], values, values[1:], strict=False)
        return [at for at, before, after in pairs if after > before]


def series(path: Path, survey: Survey, names: Sequence[str]) -> Series:
    """Read these names of a recording, within the surveyed range."""
    length = survey.ends - survey.begins
    step_s = max(1.0, length / MAX_STEPS)
    steps = max(1, math.ceil(length / step_s))
    wanted = {name.encode() for name in names}
    values: dict[str, list[float]] = {}
    for point in points_of(path, Oddities(), wanted):
        if survey.begins <= point.at < survey.ends:
            row = values.setdefault(point.name, [math.nan] * steps)
            row[min(steps - 1, int((point.at - survey.begins) / step_s))] = float(point.value)
    return Series(survey.begins, step_s, values)
