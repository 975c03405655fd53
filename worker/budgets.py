"""What the service said of its budgets, and what it did not answer. The threads of a worker and its loop share it: a
thread need not run into a 429 that another one met, and what is told to the masters is told from here.

A request that was sent and not answered is in doubt: the service may have counted it, now or when it gets to it. The
doubt is over when a request on the same budget that was sent later is answered, since that answer's `remaining` has
both. Until then whoever grants must hold it back, or know that it is too old to matter (`master.budgets`).
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from protocol.messages import BudgetReport

NOTHING_SAID = -1
"""The `limit` of a service that counts nothing that we can see."""
MOST_DOUBTS = 100_000
"""Requests in doubt on one budget; no window holds more."""


@dataclass(slots=True)
class _Heard:
    """One budget. `report` was heard at `heard_at`; `doubts` are when requests were given up; times in seconds."""

    report: BudgetReport
    heard_at: float = 0.0
    doubts: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_DOUBTS))
    unanswered: int = 0

    def answered(self, sent_at: float) -> None:
        """What was given up before this was sent is in no doubt any more."""
        while self.doubts and self.doubts[0] < sent_at:
            self.doubts.popleft()

    def left_ms(self, now: float) -> int:
        """Until the reset; 0 when the window is over."""
        return max(0, self.report.reset_in_ms - int((now - self.heard_at) * 1000))

    def told(self, now: float) -> BudgetReport | None:
        """What a master is to hear, None when there is nothing to say."""
        left_ms = self.left_ms(now)
        if self.report.limit != NOTHING_SAID and not left_ms and not self.unanswered:
            return None
        counted = self.unanswered - len(self.doubts)
        return self.report._replace(reset_in_ms=left_ms, unanswered=self.unanswered, counted=counted)


class HeardBudgets:
    """The lowest word on each budget in its newest window. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str], _Heard] = {}
        self._lock = threading.Lock()

    def hear(self, now: float, report: BudgetReport, sent_at: float) -> None:
        """The service said so at `now`, to a request of `sent_at`; answers may overtake one another."""
        with self._lock:
            heard = self._of(report.who, report.endpoint)
            heard.answered(sent_at)
            if (report.window, -report.remaining) >= (heard.report.window, -heard.report.remaining):
                heard.report, heard.heard_at = report, now

    def unanswered(self, now: float, who: str, endpoint: str) -> None:
        """A request that was sent is given up."""
        with self._lock:
            heard = self._of(who, endpoint)
            heard.unanswered += 1
            heard.doubts.append(now)

    def last(self, now: float, who: str, endpoint: str) -> BudgetReport | None:
        """The last word as it is at `now`, None when there is none or its window is over."""
        with self._lock:
            heard = self._heard.get((who, endpoint))
            if heard is None or heard.report.limit == NOTHING_SAID or not (left_ms := heard.left_ms(now)):
                return None
            return heard.report._replace(reset_in_ms=left_ms)

    def exhausted(self, now: float, who: str, endpoint: str) -> bool:
        """Whether nothing is left in the window that runs."""
        known = self.last(now, who, endpoint)
        return known is not None and known.remaining == 0

    def reports(self, now: float) -> list[BudgetReport]:
        """What a master is to hear of each, as it is at `now`."""
        with self._lock:
            return [told for heard in self._heard.values() if (told := heard.told(now)) is not None]

    def _of(self, who: str, endpoint: str) -> _Heard:
        heard = self._heard.get((who, endpoint))
        if heard is None:
            heard = self._heard[who, endpoint] = _Heard(BudgetReport(who, endpoint, 0, 0, 0, 0))
        return heard
