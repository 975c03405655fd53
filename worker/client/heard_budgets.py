"""The budgets that the service reported, and its unanswered requests. Shared by the threads of a worker and its loop:
a thread need not run into a 429 that another one met, and reports to the masters are made from here.

An unanswered request is in doubt: the service may have counted it, at once or when it processes it. So is one whose
response does not report the remaining count, where the service is known to count. The doubt ends when a later request
on the same budget is answered, since that response's `remaining` covers both. Until then the granting master must
reserve it, or know that it is too old to matter (`master.dispatch.budgets`).
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from protocol.messages import BudgetReport
from protocol.rate_window import Window
from protocol.records import RESTS_AS_ASKED, RESTS_FOR_RATE

NOTHING_SAID = -1
"""The `limit` of a service that reports no count."""
MAX_DOUBTS = 100_000
"""Requests in doubt on one budget; no window holds more."""


@dataclass(slots=True)
class _Heard:
    """One budget. `silent`: the service answered without reporting a limit; `doubts` are when requests were given up,
    in seconds."""

    window: Window = field(default_factory=Window)
    silent: bool = False
    refused: bool = False
    doubts: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_DOUBTS))
    unanswered: int = 0

    def answered(self, sent_at: float) -> None:
        """End the doubt of requests given up before this one was sent."""
        while self.doubts and self.doubts[0] < sent_at:
            self.doubts.popleft()

    def told(self, now: float, who: str, endpoint: str) -> list[BudgetReport]:
        """The report to a master: the current window, a rest that it does not imply, and the requests in doubt."""
        window = self.window
        window.pass_time(now)
        limit, left_ms, rest_ms = window.limit or 0, _left_ms(now, window.ends_at), _left_ms(now, window.rests_until)
        said = []
        if left_ms:
            said.append(BudgetReport(who, endpoint, limit, window.remaining or 0, window.name, left_ms))
        if rest_ms and (window.remaining or rest_ms > left_ms):
            why = RESTS_FOR_RATE if self.refused or limit else RESTS_AS_ASKED
            said.append(BudgetReport(who, endpoint, max(1, limit), why, 0, rest_ms))
        if self.silent and not self.refused and not limit:
            said.append(BudgetReport(who, endpoint, NOTHING_SAID, 0, 0, 0))
        if self.unanswered and not said:
            said.append(BudgetReport(who, endpoint, limit, window.remaining or 0, window.name, 0))
        counted = self.unanswered - len(self.doubts)
        return [one._replace(unanswered=self.unanswered, counted=counted) for one in said]


class HeardBudgets:
    """What is known of each budget. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str], _Heard] = {}
        self._lock = threading.Lock()

    def hear(self, now: float, report: BudgetReport, sent_at: float) -> None:
        """The service reported this at `now`, to a request sent at `sent_at`; responses may overtake one another."""
        with self._lock:
            heard = self._of(report.who, report.endpoint)
            heard.answered(sent_at)
            if report.limit == NOTHING_SAID:
                heard.silent = True
            else:
                heard.window.hear(now, report, now - sent_at)

    def refused(self, now: float, who: str, endpoint: str, rest_s: float) -> None:
        """The service refused a request for its rate: nothing is sent for that long, whatever else it reports."""
        with self._lock:
            heard = self._of(who, endpoint)
            heard.refused = True
            heard.window.rest(now + rest_s)

    def leave_alone(self, now: float, who: str, endpoint: str, rest_s: float) -> None:
        """The service asked for a pause of that long, for another reason than the request rate."""
        with self._lock:
            self._of(who, endpoint).window.rest(now + rest_s)

    def unanswered(self, now: float, who: str, endpoint: str) -> None:
        """A sent request is given up, or its response does not report the remaining count."""
        with self._lock:
            heard = self._of(who, endpoint)
            heard.unanswered += 1
            heard.doubts.append(now)

    def counts(self, who: str, endpoint: str) -> bool | None:
        """Whether the service counts these requests; None while unknown."""
        with self._lock:
            heard = self._of(who, endpoint)
            return True if heard.window.limit is not None else False if heard.silent else None

    def exhausted(self, now: float, who: str, endpoint: str) -> bool:
        """Whether nothing is left in the current window, or the budget rests."""
        with self._lock:
            window = self._of(who, endpoint).window
            window.pass_time(now)
            return window.resting(now) or (window.ends_at is not None and window.remaining == 0)

    def reports(self, now: float) -> list[BudgetReport]:
        """The report to a master on each budget, at `now`."""
        with self._lock:
            return [said for (who, endpoint), heard in self._heard.items() for said in heard.told(now, who, endpoint)]

    def _of(self, who: str, endpoint: str) -> _Heard:
        return self._heard.setdefault((who, endpoint), _Heard())


def _left_ms(now: float, until: float | None) -> int:
    """The time until then, rounded up to a millisecond; 0 when it is past."""
    return 0 if until is None or until <= now else max(1, int((until - now) * 1000))
