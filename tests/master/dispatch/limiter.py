"""A service that counts exactly, and tells of it by a clock that is set, in whole seconds, and now and then wrongly."""

from __future__ import annotations

import math
from dataclasses import dataclass

from protocol.messages import BudgetReport
from worker.client.retrying_client import RateLimitHeaders

TRUE, LATER, ABSURD, NEGATIVE, SILENT = "true", "a second later", "milliseconds", "remaining of -1", "no headers"
WORDS = (TRUE, LATER, ABSURD, NEGATIVE, SILENT)
"""How an answer may tell of the budget."""
SLACK_S = 3
"""By how much a word may have a window last longer: two roundings, and a reset that jitters by a second."""


@dataclass
class Limiter:
    """Windows begin with a request. `clock` is what the service's clock shows at our time 0."""

    limit: int
    window: float
    exact: bool = True
    clock: float = 1_000_000.0
    ends: float = -1.0
    left: int = 0
    refused: int = 0

    def count(self, now: float) -> None:
        """A request comes in."""
        if now >= self.ends:
            self.ends, self.left = now + self.window, self.limit
        self.refused += self.left == 0
        self.left = max(0, self.left - 1)

    @property
    def name(self) -> int:
        """The window that runs, exactly."""
        return int((self.clock + self.ends) * 1000)

    def word(self, now: float, who: str, endpoint: str, how: str = TRUE) -> BudgetReport | None:
        """What a worker makes of the answer that is given now."""
        if self.exact:
            return BudgetReport(who, endpoint, self.limit, self.left, self.name, int((self.ends - now) * 1000))
        if how == SILENT:
            return None
        date, reset = math.floor(now + self.clock), math.ceil(self.ends + self.clock) + (how == LATER)
        said = RateLimitHeaders(
            self.limit, -1 if how == NEGATIVE else self.left, reset * 1000 if how == ABSURD else reset, date
        )
        return said.report(who, endpoint)
