"""The result of a drill: what each fault cost, the audit's verdict, and the data of the chart."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from master.audit.audit import Audit
from master.rehearsal.chart import Chart, ChartMark
from master.rehearsal.faults import InjectedFault
from master.rehearsal.rehearsal import Rehearsal
from master.rehearsal.timeline import AFTER_S, LeadershipSpan, bands, held_up, rates, since

STEP_S = 1.0
MAX_STEPS = 200
NAMED = 20
"""Findings of the audit that are printed; the JSON has more."""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault that occurred. `held_up_s` is how long after it the work resumed; None: it did not."""

    injected: InjectedFault
    held_up_s: float | None

    @property
    def cost(self) -> str:
        """The cost as text."""
        if self.held_up_s is None:
            return "the work did not go on"
        return f"work went on after {self.held_up_s:g} s" if self.held_up_s else "no pause"


@dataclass(frozen=True, slots=True)
class RehearsalReport:
    """The whole result. `missed` are faults that never occurred, since the crawl ended before."""

    rows: list[FaultRow]
    missed: list[str]
    led: list[LeadershipSpan]
    jobs: int
    complete: bool
    again: int
    allowed: int
    audit: Audit
    picture: Chart
    seed: int | None
    crawl: str

    @property
    def well(self) -> bool:
        """Whether the drill passed: the audit is clean, and every planned fault occurred."""
        return self.audit.clean and not self.missed

    @property
    def changes(self) -> int:
        """How often the lead changed from one master to the other."""
        leaders = [band.leader for band in self.led if band.leader is not None]
        return sum(one != other for one, other in pairwise(leaders))

    def words(self) -> list[str]:
        """The verdict and the totals."""
        result = self.audit
        end = "to its end" if self.complete else "until the time was up"
        lines = [
            f"{self.jobs} jobs done in {self.picture.length_s:.1f} s, {end}; changes of the lead: {self.changes}",
            f"pages of timelines and follower lists fetched again: {self.again}; expected: at most {self.allowed}",
            self.picture.verdict,
            *result.lost[:NAMED],
            *result.doubled[:NAMED],
            *result.differences[:NAMED],
        ]
        if self.missed:
            lines.append(
                f"never came, since the crawl was over before: {', '.join(self.missed)}; "
                "give its world more accounts by --emulator-options"
            )
        if self.seed is not None:
            lines.append(f"the same again: --random {self.picture.length_s:.0f}s --seed {self.seed}")
        return lines

    def document(self, picture: str) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "clean": self.audit.clean,
            "well": self.well,
            "crawl": self.crawl,
            "seed": self.seed,
            "length_s": round(self.picture.length_s, 3),
            "complete": self.complete,
            "mishaps": [
                {
                    "what": row.injected.fault.name,
                    "whom": row.injected.whom,
                    "at_s": round(row.injected.at_s, 3),
                    "lasts_s": row.injected.fault.lasts_s,
                    "held_up_s": row.held_up_s,
                }
                for row in self.rows
            ],
            "missed": self.missed,
            "led": [asdict(band) for band in self.led],
            "lead_changes": self.changes,
            "jobs": self.jobs,
            "step_s": self.picture.step_s,
            "jobs_a_second": [round(rate, 2) for rate in self.picture.rates],
            "pages_again": self.again,
            "pages_allowed": self.allowed,
            "audit": self.audit.document(),
            "picture": picture,
        }


def report_of(drill: Rehearsal, result: Audit, seed: int | None) -> RehearsalReport:
    """The report of a finished drill."""
    assert drill.watch is not None and drill.faults is not None
    began_s = drill.began_s if drill.began_s is not None else drill.ended_s
    length_s = max(0.1, drill.ended_s - began_s)
    samples = since(drill.watch.samples, began_s, drill.ended_s)
    complete, injected = not drill.over, drill.faults.injected
    rows = []
    for number, one in enumerate(injected):
        until_s = one.at_s + one.fault.lasts_s + AFTER_S
        if number + 1 < len(injected):
            until_s = min(until_s, injected[number + 1].at_s)
        rows.append(FaultRow(one, held_up(samples, one.at_s, until_s, over=complete)))
    led = bands(samples, length_s)
    step_s = max(STEP_S, length_s / MAX_STEPS)
    picture = Chart(
        time.strftime("Rehearsal of %Y-%m-%d, %H:%M UTC", time.gmtime()),
        verdict(result),
        length_s,
        led,
        rates(samples, length_s, step_s),
        step_s,
        [ChartMark(row.injected.at_s, row.injected.fault.lasts_s, _label(row)) for row in rows],
    )
    return RehearsalReport(
        rows,
        [f"{fault.name} at {fault.at_s:g} s" for fault in drill.faults.to_come],
        led,
        samples[-1].jobs if samples else 0,
        complete,
        drill.fetched.again,
        drill.allowed,
        result,
        picture,
        seed,
        drill.settings.crawl,
    )


def verdict(result: Audit) -> str:
    """The audit in one sentence."""
    if result.clean:
        return "The audit is clean: nothing lost, nothing doubled."
    differ = len(result.differences)
    return f"The audit is not clean: {result.lost_count} lost, {result.doubled_count} doubled, {differ} sums differ."


def table(report: RehearsalReport) -> str:
    """One row per fault."""
    names = [(f"{number}. {row.injected.fault.name}", row) for number, row in enumerate(report.rows, 1)]
    wide = max([len(name) for name, _ in names], default=0)
    whom = max([len(row.injected.whom) for row in report.rows], default=0)
    return "\n".join(
        f"{name:<{wide}}  {row.injected.at_s:6.1f} s  {row.injected.whom:<{whom}}  {_lasts(row):>8}  {row.cost}"
        for name, row in names
    )


def _lasts(row: FaultRow) -> str:
    return f"{row.injected.fault.lasts_s:g} s" if row.injected.fault.lasts_s else ""


def _label(row: FaultRow) -> str:
    lasts = f" for {_lasts(row)}" if row.injected.fault.lasts_s else ""
    return f"{row.injected.fault.name}{lasts} ({row.injected.whom}): {row.cost}"
