"""The chart of a crawl: its speed, what was waiting, and what was done, by operation; as SVG or PNG.

Drawn with matplotlib, which is an optional extra: recording does not need it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import UsageError
from protocol.jobs import OPERATIONS
from services.stats.carbon.replay_feed import Survey, survey
from services.stats.metrics import COMPLETED, FETCHED, PAGES, TAKEOVERS, WAITING, Metric
from services.stats.recording.series import Series, series
from storage.durable import in_words, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = {"timeline": "#0969da", "follower": "#d4640b", "analyzer": "#1a7f37", "update": "#8250df"}
"""Of operations; the same everywhere, and distinguishable with most forms of colour blindness."""
INK, FAINT, GRID, MARK = "#1f2328", "#57606a", "#e4e8ec", "#cf222e"
WIDTH_IN: Final = 11.0
PANEL_IN: Final = 2.1
DPI: Final = 144
STYLE: Final[dict[Any, Any]] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": "#8c959f",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "ytick.left": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "twittomatic",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of the chart: a metric of each operation, read in one way. Stacked areas, or lines."""

    title: str
    metric: Metric
    read: Callable[[Series, str], list[float]]
    stacked: bool


PANELS: Final = (
    Panel("pages a second", PAGES, Series.rate, True),
    Panel("records a second", FETCHED, Series.rate, True),
    Panel("jobs that wait", WAITING, Series.gauge, True),
    Panel("jobs done", COMPLETED, Series.gauge, False),
)


def draw(path: Path, output: Path, begins: int, ends: int, title: str) -> str:
    """Draw a recording from one unix time to another; returns a sentence that describes the result.

    Raises UsageError when matplotlib is not installed, the format is neither SVG nor PNG, or there is no data.
    """
    kind = output.suffix[1:].lower()
    if kind not in ("svg", "png"):
        raise UsageError(f"-o must end with .svg or .png, not {output.name!r}")
    try:
        import matplotlib
    except ImportError:
        raise UsageError("a chart is drawn with matplotlib, which is not installed: pip install matplotlib") from None
    names = [*_names([panel.metric for panel in PANELS]), TAKEOVERS.name]
    found = survey(path, begins, ends, {name.encode() for name in names})
    read = series(path, found, names)
    panels = [panel for panel in PANELS if read.has(_names([panel.metric]))]
    if not panels:
        raise UsageError(f"{path} has no numbers of a crawl in that time: nothing to draw")
    metadata: dict[str, Any] = {"Title": title, **({"Date": None} if kind == "svg" else {})}
    with matplotlib.rc_context(STYLE), in_words(f"write {output}"):
        figure = _figure(read, panels, found, title)
        with replacing(output) as file:
            figure.savefig(file, format=kind, dpi=DPI, facecolor="white", metadata=metadata)
    return f"{output}: {found.ends - found.begins:,} s of {path.name}"


def _names(metrics: Sequence[Metric]) -> list[str]:
    return [metric.name.format(operation=words.name) for metric in metrics for words in OPERATIONS.values()]


def _figure(read: Series, panels: Sequence[Panel], found: Survey, title: str) -> Figure:
    from matplotlib.figure import Figure

    height = 1.65 + PANEL_IN * len(panels)
    figure = Figure(figsize=(WIDTH_IN, height))
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.085, right=0.975, top=1 - 1.22 / height, bottom=0.42 / height, hspace=0.32)
    figure.text(0.03, 1 - 0.34 / height, title.replace("$", r"\$"), size=18, weight="bold", va="center")
    figure.text(0.03, 1 - 0.66 / height, _subtitle(read, found), size=11, color=FAINT, va="center")
    times = [_day(at) for at in read.times]
    seen = [words.name for words in OPERATIONS.values() if read.has(_of(panels, words.name))]
    takeovers = [_day(at) for at in read.jumps(TAKEOVERS.name)]
    for axes, panel in zip(rows, panels, strict=True):
        _panel(axes, panel, read, times, seen)
        for at in takeovers:
            axes.axvline(at, color=MARK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=4)
    rows[-1].xaxis.set_major_formatter(_dates(rows[-1]))
    rows[-1].set_xlim(times[0], times[-1] if len(times) > 1 else None)
    _legend(figure, seen, bool(takeovers), height)
    return figure


def _of(panels: Sequence[Panel], operation: str) -> list[str]:
    return [panel.metric.name.format(operation=operation) for panel in panels]


def _panel(axes: Axes, panel: Panel, read: Series, times: list[float], seen: Sequence[str]) -> None:
    rows = {operation: panel.read(read, panel.metric.name.format(operation=operation)) for operation in seen}
    rows = {operation: row for operation, row in rows.items() if row}
    if panel.stacked:
        filled = [[0.0 if math.isnan(value) else value for value in row] for row in rows.values()]
        colours = [COLOURS[operation] for operation in rows]
        axes.stackplot(times, *filled, colors=colours, alpha=0.78, linewidth=0.6, edgecolor="white")
    else:
        for operation, row in rows.items():
            axes.plot(times, row, color=COLOURS[operation], linewidth=2.2, solid_capstyle="round")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.set_title(panel.title, loc="left", size=12, weight="bold", pad=6)
    total = [sum(v for v in column if not math.isnan(v)) for column in zip(*rows.values(), strict=True)]
    word = f"at most {_short(max(total))}" if panel.stacked else f"{_short(total[-1])} in all"
    axes.set_title(word, loc="right", size=11, color=FAINT, pad=6)
    axes.margins(x=0)


def _legend(figure: Figure, seen: Sequence[str], takeovers: bool, height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=COLOURS[operation], label=operation) for operation in seen]
    if takeovers:
        handles.append(Line2D([], [], color=MARK, linestyle=(0, (4, 3)), label="the lead was taken anew"))
    figure.legend(
        handles=handles,
        loc="center right",
        bbox_to_anchor=(0.985, 1 - 0.34 / height),
        ncols=len(handles),
        frameon=False,
        handlelength=1.2,
        columnspacing=1.4,
    )


def _dates(axes: Axes) -> Any:
    """Labels of local time."""
    from matplotlib import dates

    local = datetime.now().astimezone().tzinfo
    typeless: Any = dates
    locator = typeless.AutoDateLocator(tz=local, minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    return typeless.ConciseDateFormatter(locator, tz=local, show_offset=False)


def _day(at: float) -> float:
    """A unix time as a matplotlib date: days since 1970."""
    return at / 86_400


def _subtitle(read: Series, found: Survey) -> str:
    """The time of the crawl, its duration, and its results."""
    begun, ended = (datetime.fromtimestamp(at) for at in (found.begins, found.ends - 1))
    until = f"{ended:%H:%M:%S}" if begun.date() == ended.date() else f"{ended:%Y-%m-%d %H:%M:%S}"
    sums = [read.gauge(name)[-1:] for name in _names([FETCHED])]
    records = sum(value for row in sums for value in row if not math.isnan(value))
    return f"{begun:%Y-%m-%d %H:%M:%S} to {until} ({_length(found.ends - found.begins)}), {records:,.0f} records"


def _length(seconds: int) -> str:
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds} s"


def _short(value: float) -> str:
    """A number in short form."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            scale = 1e3 if letter == "k" else size
            return f"{value / scale:.3g}{letter}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
