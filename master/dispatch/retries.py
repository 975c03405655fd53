"""Jobs whose last try failed, and when each is due. The ledger has no deadlines: a new leader restarts the delays."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from master.policy import CrawlPolicy
from protocol.backoff import doubled, spread
from protocol.jobs import Job, Operation


@dataclass(slots=True)
class RetryBackoff:
    """The delay doubles after each failed try, up to a maximum, with jitter so that retries do not coincide."""

    policy: CrawlPolicy
    chance: random.Random
    _due: list[tuple[float, str, str]] = field(default_factory=list)

    def rest(self, now: float, name: str, job: Job) -> None:
        """Delay a job, which the ledger keeps under `name`."""
        delay = doubled(self.policy.retry_base, max(0, job.progress.tries - 1), self.policy.retry_most)
        due = now + spread(delay, self.chance.random())
        heapq.heappush(self._due, (due, name, job.operation.value))

    def awake(self, now: float) -> Iterator[tuple[str, Operation]]:
        """The jobs that are due, each once."""
        while self._due and self._due[0][0] <= now:
            _, name, operation = heapq.heappop(self._due)
            yield name, Operation(operation)
