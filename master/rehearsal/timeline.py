"""The timeline of a drill: who led when, how much was done, and how long each fault delayed the work.

Read from the ledger over a separate connection, which no fault cuts. A master leads while its beat advances: a leader
whose beat stands still is none.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from protocol.errors import LedgerError
from protocol.jobs import Operation
from protocol.numbers import MAX_PORT, whole_number
from storage.ledger.ledger import Lead, Ledger

LOOK_S: Final = 0.2
STILL_S: Final = 0.5
"""After a beat stood still for this long, nobody leads; a leader beats ten times a second."""
PAUSE_S: Final = 0.5
"""Shorter times without completed work do not count as a pause."""
LOST_S: Final = 3.0
"""If a drill ends with a silence this long, the work did not resume."""
AFTER_S: Final = 30.0
"""How long after its end a fault may still delay the work."""


@dataclass(frozen=True, slots=True)
class LedgerSample:
    """One sample. `beat_s` is when a leader's beat was last seen to advance. `jobs` counts ended jobs; `work` also
    counts pages."""

    at_s: float
    leader: int | None
    beat_s: float
    jobs: int
    work: int


@dataclass(frozen=True, slots=True)
class LeadershipSpan:
    """One leadership, or a time without a leader."""

    from_s: float
    to_s: float
    leader: int | None


@dataclass(slots=True)
class LeaderDetector:
    """Derives from successive leads who leads. `port` is the first master's."""

    port: int
    moved_at: float = float("-inf")
    _beat: tuple[str, int] = ("", 0)

    def see(self, at_s: float, lead: Lead | None) -> int | None:
        """The number of the leading master by this sample; None stands for an unreachable ledger."""
        if lead is None or not lead.incarnation:
            return None
        if (lead.incarnation, lead.beat) != self._beat:
            self._beat, self.moved_at = (lead.incarnation, lead.beat), at_s
        if at_s - self.moved_at > STILL_S:
            return None
        port = whole_number(lead.name.rpartition(":")[2], MAX_PORT)
        return None if port is None else port - self.port


@dataclass(slots=True)
class LedgerSampler:
    """Samples the ledger about five times a second, in a thread of its own."""

    ledger: Ledger
    port: int
    """The first master's; changes when the masters had to use other ports."""
    samples: list[LedgerSample] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; `samples` remain."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def last(self) -> LedgerSample | None:
        """The newest sample."""
        return self.samples[-1] if self.samples else None

    def leader(self) -> int | None:
        """The last leader, whether or not there is one at present."""
        return next((sample.leader for sample in reversed(self.samples) if sample.leader is not None), None)

    def _run(self) -> None:
        pulse = LeaderDetector(self.port)
        jobs = work = 0
        while not self._over.is_set():
            lead, pulse.port = None, self.port
            with contextlib.suppress(LedgerError):
                lead = self.ledger.observe()
                totals = self.ledger.totals()
                jobs = sum(totals.get(f"{one.value}.{end}", 0) for one in Operation for end in ("done", "dead"))
                work = jobs + sum(totals.get(f"{one.value}.steps", 0) for one in Operation)
            now = time.monotonic()
            leader = pulse.see(now, lead)
            self.samples.append(LedgerSample(now, leader, pulse.moved_at, jobs, work))
            self._over.wait(LOOK_S)


def since(samples: Sequence[LedgerSample], start_s: float, end_s: float) -> list[LedgerSample]:
    """The samples of the drill itself, whose clock starts at `start_s`."""
    return [
        LedgerSample(round(one.at_s - start_s, 3), one.leader, one.beat_s - start_s, one.jobs, one.work)
        for one in samples
        if start_s <= one.at_s <= end_s
    ]


def bands(samples: Sequence[LedgerSample], end_s: float) -> list[LeadershipSpan]:
    """Who led when, from the first sample to the end, without a gap."""
    found: list[LeadershipSpan] = []
    for sample in samples:
        if found and found[-1].leader == sample.leader:
            continue
        begin = 0.0
        if found:
            # A lead ended with its last beat, which is detected a little later.
            ended = sample.beat_s if sample.leader is None else sample.at_s
            begin = min(sample.at_s, max(found[-1].from_s, ended))
            found[-1] = LeadershipSpan(found[-1].from_s, begin, found[-1].leader)
        found.append(LeadershipSpan(begin, end_s, sample.leader))
    return found


def rates(samples: Sequence[LedgerSample], end_s: float, step_s: float) -> list[float]:
    """Jobs per second in each step of the drill. Work done while no sample could be taken is spread over that time."""
    steps = max(1, round(end_s / step_s))
    amounts = [0.0] * steps
    for one, other in pairwise(samples):
        grown, span = other.jobs - one.jobs, other.at_s - one.at_s
        if grown <= 0 or span <= 0:
            continue
        for number in range(int(one.at_s // step_s), min(steps - 1, int(other.at_s // step_s)) + 1):
            shared = min(other.at_s, (number + 1) * step_s) - max(one.at_s, number * step_s)
            amounts[number] += grown * max(0.0, shared) / span
    return [amount / step_s for amount in amounts]


def held_up(samples: Sequence[LedgerSample], struck_s: float, until_s: float, *, over: bool) -> float | None:
    """How long after a fault the work resumed: to the end of the longest pause that began between `struck_s` and
    `until_s`, and was one by then. 0.0 when there was none, None when the work did not resume. `over`: all jobs were
    done in the end."""
    grew = [other.at_s for one, other in pairwise(samples) if other.work > one.work]
    longest_s, back_s, before_s = PAUSE_S, struck_s, struck_s
    for at_s in (at_s for at_s in grew if at_s > struck_s):
        if at_s > until_s and until_s - before_s < PAUSE_S:  # a later pause belongs to the next fault
            return round(back_s - struck_s, 1)
        if at_s - before_s > longest_s:
            longest_s, back_s = at_s - before_s, at_s
        before_s = at_s
    silent_s = samples[-1].at_s - before_s if samples else 0.0
    if not over and before_s <= until_s and silent_s > max(longest_s, LOST_S):
        return None
    return round(back_s - struck_s, 1)
