"""The budgets of the crawled services: who may send how many requests, and until when. No clock, no I/O.

Rules it keeps:
  * No request is granted beyond the budget: outstanding requests (granted and not yet known to be spent) and what is
    left by the lowest report of the service in this window never exceed what the service allows.
  * Nothing is known before the first answer: one request is granted then, and no more at once where the service
    reports no limit and has refused for the request rate.
  * Every report of the service has an effect, even if its clock is set, or a report is wrong now and then: what is
    left falls, or the budget rests until the window of that report is over (`protocol.rate_window`).
  * A grant whose holder vanished counts as spent until the window resets. If it vanished between two windows, it may
    have begun an unreported one, which lasts no longer than the longest that was seen.
  * After a refusal for the request rate nothing is granted until the rest named by the service, or else by the worker,
    is over. The same holds for a Retry-After with another reason, which says nothing about limits.
  * When a window is over the whole limit is available again, less what may still be spent.
  * A request that was sent and not answered is in doubt as long as its worker reports so, or until every window is over
    in which it can have been counted. The doubts of a worker that vanished count as a grant that vanished.

`remaining` comes only from the service. An answered request leaves `outstanding` when its holder reports it, and the
service's own count, in the same message, includes it by then; nothing is counted twice, and doubt is on the safe side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

from protocol.messages import BudgetReport
from protocol.rate_window import MAX_WINDOW_MS, SAME_S, Window
from protocol.records import RESTS_FOR_RATE

UNMETERED = 1 << 30
"""What is available where the service reports no count."""
MAX_BUDGETS = 50_000
"""Beyond it, budgets without a grant are forgotten: a worker's HELLO may name any number."""
LATE_S = 15.0
"""How late a stalled service may count a request that was given up. Where it answers nothing, a budget that is all in
doubt rests that long, and then for the longest window."""
MAX_HEARD = 1000
"""Times at which a worker reported new doubts; those that are not kept age with the next one."""


@dataclass(slots=True)
class Doubts:
    """Unanswered requests of one run of a worker, in total, and those of them that `remaining` includes by now.

    `heard` are the totals and when they were reported; old ones are `aged`, and not in doubt any more.
    """

    unanswered: int = 0
    counted: int = 0
    aged: int = 0
    heard: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MAX_HEARD))

    def hear(self, now: float, unanswered: int, counted: int) -> None:
        """Record the worker's totals. They only grow: a late report changes nothing."""
        if unanswered > self.unanswered:
            self.unanswered = unanswered
            self.heard.append((now, unanswered))
        self.counted = max(self.counted, counted)

    def requests(self, before: float) -> int:
        """Requests that the service may count or not, given that those reported before that time are settled."""
        while self.heard and self.heard[0][0] < before:
            self.aged = self.heard.popleft()[1]
        return max(0, self.unanswered - max(self.counted, self.aged))


@dataclass(slots=True)
class Budget(Window):
    """One budget. Times are seconds of the caller's monotonic clock.

    `longest` is the longest time to a reset that was seen; `forfeited` requests count at least until `kept_until`, None
    while that is undecided. `doubts` are the requests, by the peer that sent them, that the service may count or not.
    """

    outstanding: int = 0
    forfeited: int = 0
    kept_until: float | None = float("-inf")
    unmetered: bool = False
    refused: bool = False
    longest: float = 0.0
    doubts: dict[bytes, Doubts] = field(default_factory=dict)

    def available(self, now: float) -> int:
        """Requests that may be granted now."""
        self.pass_time(now)
        if self.resting(now):
            return 0
        if self.unmetered:
            return UNMETERED
        if self.remaining is None:
            return max(0, 1 - self.outstanding)
        return max(0, self.remaining - self.outstanding - self.in_doubt(now))

    def in_doubt(self, now: float) -> int:
        """Requests of which it is unknown whether the service counts them."""
        if not self.doubts:
            return self.forfeited
        before = now - LATE_S - self.longest
        return self.forfeited + sum(doubts.requests(before) for doubts in self.doubts.values())

    @property
    def in_use(self) -> bool:
        """Whether some of it is granted, or may be spent."""
        return bool(self.outstanding or self.forfeited or self.doubts)

    def pass_time(self, now: float) -> None:
        """After a window the whole limit is available, less what was forfeited since the previous one."""
        Window.pass_time(self, now)
        if self.ends_at is None and self.forfeited:
            if self.kept_until is None:
                self.kept_until = now + self.longest
            if now >= self.kept_until:
                self.forfeited = 0

    def forfeit(self, now: float, requests: int) -> None:
        """The holder of so many requests vanished."""
        self.pass_time(now)
        self.forfeited += requests
        if self.ends_at is None and requests:
            self.kept_until = now + self.longest

    def doubt(self, now: float, peer: bytes, said: BudgetReport) -> None:
        """Record a worker's unanswered requests."""
        doubts = self.doubts.setdefault(peer, Doubts())
        doubts.hear(now, said.unanswered, said.counted)
        if doubts.counted >= doubts.unanswered:
            del self.doubts[peer]

    def report(self, now: float, said: BudgetReport) -> None:
        """Record a report of the service, however late or out of order it arrives."""
        if said.limit < 0:
            self.unmetered = self.unmetered or (self.limit is None and not self.refused)
        elif 0 < said.reset_in_ms <= MAX_WINDOW_MS:
            if not said.window:
                if said.remaining == RESTS_FOR_RATE:
                    self.refused, self.unmetered = True, False
                self.rest(now + said.reset_in_ms / 1000)
                return
            self.unmetered = False
            self.longest = max(self.longest, said.reset_in_ms / 1000)
            self.pass_time(now)
            before = self.ends_at
            if self.hear(now, said) and before is not None and before - now <= SAME_S:
                self.forfeited = 0  # it belonged to the previous window


@dataclass(slots=True)
class Budgets:
    """Every budget by its key, "service who endpoint"."""

    by_key: dict[str, Budget] = field(default_factory=dict)
    _doubtful: set[str] = field(default_factory=set)

    def of(self, key: str) -> Budget:
        """The budget of a key, created at its first use."""
        budget = self.by_key.get(key)
        if budget is None:
            if len(self.by_key) >= MAX_BUDGETS:
                self.by_key = {name: kept for name, kept in self.by_key.items() if kept.in_use}
            budget = self.by_key[key] = Budget()
        return budget

    def available(self, key: str, now: float) -> int:
        """Requests that may be granted now."""
        return self.of(key).available(now)

    def grant(self, key: str, requests: int) -> None:
        """Grant so many requests."""
        self.of(key).outstanding += requests

    def settle(self, key: str, requests: int) -> None:
        """So many cannot be spent any more: their holder reported them as spent, or returned them."""
        budget = self.of(key)
        budget.outstanding -= requests
        assert budget.outstanding >= 0, f"more was given back than granted: {key}"

    def forfeit(self, key: str, requests: int, now: float) -> None:
        """The holder of these vanished: they count as spent until the window resets."""
        self.settle(key, requests)
        self.of(key).forfeit(now, requests)

    def inherit(self, before: Budgets, vanished: Mapping[str, int]) -> None:
        """Take over the budgets of an earlier leadership of this process. `vanished` are the requests, by key, that it
        granted under leases that are not held any more: their use in this window stays unknown."""
        for key, old in before.by_key.items():
            kept = self.of(key)
            new = self.by_key[key] = replace(old, outstanding=kept.outstanding, doubts=deepcopy(old.doubts))
            if more := vanished.get(key, 0):
                new.forfeited += more
                new.kept_until = None if new.ends_at is None else new.kept_until
            if old.doubts:
                self._doubtful.add(key)

    def report(self, service: str, now: float, said: list[BudgetReport], peer: bytes) -> None:
        """Record the service's reports to the worker `peer`, for the budgets that some worker uses."""
        for one in said:
            key = budget_key(service, one.who, one.endpoint)
            budget = self.by_key.get(key)
            if budget is None:
                continue
            budget.report(now, one)
            if one.unanswered != one.counted or budget.doubts:
                budget.doubt(now, peer, one)
                self._doubtful.add(key)

    def none_but(self, peers: Container[bytes], now: float) -> None:
        """Only these workers exist: the use of other workers' requests stays unknown."""
        for key in list(self._doubtful):
            budget = self.of(key)
            for peer in [peer for peer in budget.doubts if peer not in peers]:
                budget.forfeit(now, budget.doubts.pop(peer).requests(now - LATE_S - budget.longest))
            if not budget.doubts:
                self._doubtful.discard(key)

    def next_reset(self, now: float) -> float | None:
        """When the next window or rest is over, if there is one."""
        times = [b.resets_at for b in self.by_key.values() if b.resets_at is not None and b.resets_at > now]
        return min(times, default=None)


def budget_key(service: str, who: str, endpoint: str) -> str:
    """The key of a budget. None of its parts contains a blank: a HELLO with one is refused."""
    return f"{service} {who} {endpoint}"
