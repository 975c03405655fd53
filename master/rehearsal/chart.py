"""The chart of a drill: who led when, jobs per second, and the faults; as SVG, and as a few lines for a terminal.

The SVG is written as text, without a library. It refers to nothing outside, and is readable on light and dark
backgrounds, and at the width of a telephone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from master.rehearsal.timeline import LeadershipSpan

WIDTH: Final = 780
LEFT: Final = 100
RIGHT: Final = 24
PLOT: Final = WIDTH - LEFT - RIGHT
HEAD: Final = 104
LANE: Final = 34
"""Height of a row of numbers above the plot."""
MAX_LANES: Final = 6
BALL: Final = 15
BAND: Final = 44
GAP: Final = 44
AREA: Final = 200
ROW: Final = 33
LETTER: Final = 11.5
"""Approximate width of a letter of the list."""
MIN_LABELLED: Final = 26
TICKS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
MAX_TICKS: Final = 8
BARS: Final = " ▁▂▃▄▅▆▇█"
NOBODY: Final = "·"

STYLE: Final = """
    .paper { fill: #ffffff }
    .title { fill: #1f2328; font-size: 28px; font-weight: 600 }
    .word { fill: #424a53; font-size: 22px }
    .middle { text-anchor: middle }
    .end { text-anchor: end }
    .m0 { fill: #0969da }
    .m1 { fill: #d4640b }
    .none { fill: #d0d7de }
    .on { fill: #ffffff; font-size: 22px; font-weight: 600; text-anchor: middle }
    .jobs { fill: #9ec5a4; stroke: #1a7f37; stroke-width: 2 }
    .axis { stroke: #8c959f; stroke-width: 1.5 }
    .grid { stroke: #d0d7de; stroke-width: 1 }
    .mark { stroke: #cf222e; stroke-width: 2; stroke-dasharray: 5 4 }
    .lasts { fill: #cf222e; opacity: 0.13 }
    .ball { fill: #cf222e }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117 }
      .title { fill: #f0f6fc }
      .word { fill: #c9d1d9 }
      .m0 { fill: #1f6feb }
      .m1 { fill: #bd561d }
      .none { fill: #484f58 }
      .jobs { fill: #1d5c2e; stroke: #3fb950 }
      .axis { stroke: #8b949e }
      .grid { stroke: #30363d }
      .mark { stroke: #ff7b72 }
      .lasts { fill: #ff7b72; opacity: 0.2 }
      .ball { fill: #da3633 }
    }
"""


@dataclass(frozen=True, slots=True)
class ChartMark:
    """A fault as it is drawn: `words` describe the fault, its target and its effect."""

    at_s: float
    lasts_s: float
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The data of the chart. `rates` are jobs per second in each `step_s`; `verdict` is one sentence."""

    title: str
    verdict: str
    length_s: float
    bands: Sequence[LeadershipSpan]
    rates: Sequence[float]
    step_s: float
    marks: Sequence[ChartMark]

    def across(self, at_s: float) -> float:
        """The x coordinate of a time, in pixels."""
        return LEFT + PLOT * min(1.0, max(0.0, at_s / self.length_s))


def svg(picture: Chart) -> str:
    """The whole SVG."""
    lanes = _lanes(picture)
    top = HEAD + (max(lanes, default=0) + 1) * LANE
    bottom = top + BAND + GAP + AREA
    rows = [row for number, mark in enumerate(picture.marks, 1) for row in _folded(f"{number}. {mark.words}")]
    height = bottom + 120 + ROW * len(rows)
    parts = [
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        _text(24, 44, picture.title, "title"),
        _text(24, 80, picture.verdict, "word"),
        *_area(picture, top + BAND + GAP, bottom),
        *_leaders(picture, top),
        *_marks(picture, lanes, top, bottom),
        *_numbers(picture, top),
        *_legend(bottom + 84),
        *(_text(24, bottom + 130 + ROW * number, row, "word") for number, row in enumerate(rows)),
    ]
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        "aria-labelledby=\"title words\" font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', "
        'sans-serif">\n'
        f'  <title id="title">{escape(picture.title)}</title>\n  <desc id="words">{escape(_spoken(picture))}</desc>\n'
        f"  <style>{STYLE}  </style>\n  {body}\n</svg>\n"
    )


def text(picture: Chart, columns: int) -> str:
    """The same in four lines of at most that many columns."""
    width = max(20, columns - 10)
    cell_s = picture.length_s / width
    led, jobs, marks = [], [], [" "] * width
    most = 0.0
    heights = []
    for number in range(width):
        at_s = (number + 0.5) * cell_s
        band = next((band for band in picture.bands if band.from_s <= at_s < band.to_s), None)
        led.append(NOBODY if band is None or band.leader is None else str(band.leader))
        step = min(len(picture.rates) - 1, int(at_s / picture.step_s))
        heights.append(picture.rates[step] if picture.rates else 0.0)
        most = max(most, heights[-1])
    for rate in heights:
        jobs.append(BARS[0] if rate <= 0 else BARS[max(1, round(rate / most * (len(BARS) - 1)))])
    for number, mark in enumerate(picture.marks, 1):
        place = min(width - 1, int(mark.at_s / cell_s))
        for offset, letter in enumerate(str(number)[: width - place]):
            marks[place + offset] = letter
    end = f"{picture.length_s:.0f} s"
    rows = [("mishap", "".join(marks)), ("leader", "".join(led)), ("jobs", "".join(jobs))]
    axis = f"0 s{end:>{width - 3}}"
    return "\n".join([*(f"{name:<8}{row}".rstrip() for name, row in rows), f"{'':8}{axis}"])


# The parts.


def _leaders(picture: Chart, top: float) -> list[str]:
    parts = [_text(LEFT - 12, top + 30, "leader", "word end")]
    for band in picture.bands:
        left, right = picture.across(band.from_s), picture.across(band.to_s)
        kind = "none" if band.leader is None else f"m{band.leader % 2}"
        parts.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{max(1.0, right - left):.1f}" height="{BAND}"/>'
        )
    return parts


def _numbers(picture: Chart, top: float) -> list[str]:
    """The masters' numbers in their bands, above the marks."""
    ends = [(band, picture.across(band.from_s), picture.across(band.to_s)) for band in picture.bands]
    return [
        _text((left + right) / 2, top + 30, str(band.leader), "on")
        for band, left, right in ends
        if band.leader is not None and right - left >= MIN_LABELLED
    ]


def _area(picture: Chart, top: float, bottom: float) -> list[str]:
    most = _round_up(max(picture.rates, default=0.0))
    parts = []
    for share in (0.5, 1.0):
        y = bottom - (bottom - top) * share
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 12, y + 8, f"{most * share:g}", "word end"))
    points = [(picture.across(0.0), 0.0)]
    for number, rate in enumerate(picture.rates):
        points.append((picture.across((number + 0.5) * picture.step_s), rate))
    points.append((picture.across(picture.length_s), picture.rates[-1] if picture.rates else 0.0))
    points[0] = (points[0][0], points[1][1])
    drawn = " ".join(f"L{x:.1f} {bottom - (bottom - top) * rate / most:.1f}" for x, rate in points)
    parts.append(f'<path class="jobs" d="M{LEFT} {bottom} {drawn} L{WIDTH - RIGHT} {bottom} Z"/>')
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>')
    parts.append(_text(LEFT - 12, top - 22, "jobs/s", "word end"))
    step = next((step for step in TICKS_S if picture.length_s / step <= MAX_TICKS), TICKS_S[-1])
    for at_s in range(0, int(picture.length_s) + 1, step):
        x = picture.across(at_s)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 8}"/>')
        parts.append(_text(x, bottom + 34, f"{at_s} s" if at_s == 0 else str(at_s), "word middle"))
    return parts


def _marks(picture: Chart, lanes: Sequence[int], top: float, bottom: float) -> list[str]:
    parts = []
    for number, (mark, lane) in enumerate(zip(picture.marks, lanes, strict=True), 1):
        x, y = picture.across(mark.at_s), top - LANE * (lane + 0.55)
        if mark.lasts_s:
            width = picture.across(mark.at_s + mark.lasts_s) - x
            parts.append(
                f'<rect class="lasts" x="{x:.1f}" y="{top + BAND}" width="{width:.1f}" height="{bottom - top - BAND}"/>'
            )
        parts.append(f'<line class="mark" x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(
            f'<circle class="ball" cx="{x:.1f}" cy="{y:.1f}" r="{BALL}"><title>{escape(mark.words)}</title></circle>'
        )
        parts.append(_text(x, y + 8, str(number), "on"))
    return parts


def _legend(y: float) -> list[str]:
    parts, x = [], 24.0
    for kind, words in (("m0", "master 0 leads"), ("m1", "master 1 leads"), ("none", "nobody leads")):
        parts.append(f'<rect class="{kind}" x="{x:.0f}" y="{y - 18}" width="22" height="22"/>')
        parts.append(_text(x + 32, y, words, "word"))
        x += 60 + LETTER * len(words)
    return parts


def _lanes(picture: Chart) -> list[int]:
    """The row above the plot for each mark's number, so that none hides another."""
    free_from: list[float] = []
    lanes = []
    for mark in picture.marks:
        x = picture.across(mark.at_s)
        lane = next((lane for lane, free in enumerate(free_from) if free <= x), len(free_from))
        if lane == len(free_from):
            if lane == MAX_LANES:
                lane = min(range(MAX_LANES), key=free_from.__getitem__)
            else:
                free_from.append(0.0)
        free_from[lane] = x + 2 * BALL + 4
        lanes.append(lane)
    return lanes


def _folded(words: str) -> list[str]:
    """Rows that fit; continuation rows are indented. A number stays with its unit."""
    rows = [""]
    most = int((WIDTH - 48) / LETTER)
    for word in re.sub(r"(?<=[0-9]) s\b", "\u00a0s", words).split(" "):
        if rows[-1].strip() and len(rows[-1]) + 1 + len(word) > most:
            rows.append("\u2003" + word)
        else:
            rows[-1] = f"{rows[-1]} {word}" if rows[-1] else word
    return rows


def _spoken(picture: Chart) -> str:
    """The text alternative of the chart."""
    changes = sum(
        one.leader != other.leader for one, other in pairwise([b for b in picture.bands if b.leader is not None])
    )
    marks = "; ".join(f"at {mark.at_s:.0f} seconds, {mark.words}" for mark in picture.marks)
    return (
        f"{picture.length_s:.0f} seconds, in which the lead changed hands {changes} times. At most "
        f"{max(picture.rates, default=0.0):.0f} jobs a second. Mishaps: {marks or 'none'}. {picture.verdict}"
    )


def _round_up(value: float) -> float:
    """The next round number, for the top of the scale; at least 1."""
    scale = 1.0
    while scale * 10 < value:
        scale *= 10
    return next(scale * step for step in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if scale * step >= value)


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
