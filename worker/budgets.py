"""What the service said of its budgets, shared by the threads of a worker: a thread need not run into a 429 that
another one met, and a request without an answer is counted as one."""

from __future__ import annotations

import threading

from protocol.messages import BudgetReport

NOTHING_SAID = -1
"""The `limit` of a service that counts nothing that we can see."""


class HeardBudgets:
    """The lowest word on each budget in its newest window. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str], tuple[BudgetReport, float]] = {}
        self._longest_ms: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def hear(self, now: float, report: BudgetReport) -> None:
        """The service said so at `now`; answers may overtake one another."""
        key = report.who, report.endpoint
        with self._lock:
            self._longest_ms[key] = max(report.reset_in_ms, self._longest_ms.get(key, 0))
            known = self._heard.get(key)
            if known is None or (report.window, -report.remaining) > (known[0].window, -known[0].remaining):
                self._heard[key] = report, now

    def last(self, now: float, who: str, endpoint: str) -> BudgetReport | None:
        """The last word as it is at `now`, None when there is none or its window is over."""
        known = self._metered(who, endpoint)
        if known is None:
            return None
        left = known[0].reset_in_ms - int((now - known[1]) * 1000)
        return known[0]._replace(reset_in_ms=left) if left > 0 else None

    def unanswered(self, now: float, who: str, endpoint: str) -> BudgetReport | None:
        """What is to be reported after a request that nobody answered: the service may have counted it.

        When the last window is over, the request may have been the first in the next one, of which nothing is known
        but that it ends later: it is named so that whatever the service will say of it counts more.
        """
        report = self.last(now, who, endpoint)
        known = self._metered(who, endpoint)
        if known is None:
            return None
        if report is None:
            length_ms = self._longest_ms[who, endpoint]
            report = known[0]._replace(remaining=known[0].limit, window=known[0].window + 1, reset_in_ms=length_ms)
        report = report._replace(remaining=max(0, report.remaining - 1))
        self.hear(now, report)
        return report

    def exhausted(self, now: float, who: str, endpoint: str) -> bool:
        """Whether nothing is left in the window that runs."""
        known = self.last(now, who, endpoint)
        return known is not None and known.remaining == 0

    def _metered(self, who: str, endpoint: str) -> tuple[BudgetReport, float] | None:
        with self._lock:
            known = self._heard.get((who, endpoint))
        return None if known is None or known[0].limit == NOTHING_SAID else known
