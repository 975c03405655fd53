"""A small crawl as its masters tell of it: events and gauges, second by second."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from services.stats.collecting import Collecting
from services.subscriber.consumer import Event, Position

NAMES = {"T": "timeline", "F": "follower", "A": "analyzer", "U": "update"}


@dataclass
class Crawl:
    """Tells a consumer of one second after the other; the consumer's clock is `now`."""

    now: float
    seed: int = 1
    sequence: int = 0
    told: list[Event] = field(default_factory=list)
    """Every event that there was."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._totals = {letter: {"pages": 5, "records": 0, "completed": 0} for letter in NAMES}

    def clock(self) -> float:
        return self.now

    def position(self) -> Position:
        return Position("00112233aabbccdd", "beef", self.sequence)

    def event(self, topic: str, record: list[Any]) -> Event:
        self.sequence += 1
        self.told.append(Event(self.sequence, topic, record))
        return self.told[-1]

    def result(self, letter: str, user: str, records: int, worker: str = "worker-001", token: str = "") -> Event:
        return self.event("job.done", [letter, user, "complete", records, 0, "", worker, token or f"t-{user}"])

    def events(self) -> list[Event]:
        """What happens in a second."""
        made = []
        for letter in "TFA":
            for _ in range(self._random.randrange(3)):
                records = self._random.randrange(3_000)
                user = str(self._random.randrange(10**9))
                made.append(self.result(letter, user, records, f"worker-{self._random.randrange(4):03}"))
                totals = self._totals[letter]
                totals["pages"] += 1 + records // 200
                totals["records"] += records
                totals["completed"] += 1
        return made

    def second(self, consumer: Collecting) -> None:
        """One more second goes by."""
        self.now += 1
        events = self.events()
        if events:
            consumer.apply(events, self.position())
        consumer.hear("stats.gauges", self.document())

    def document(self) -> dict[str, Any]:
        """The state of the crawl, as a master tells it."""
        return {
            "crawl": "main",
            "leader": {"name": "m", "epoch": 3, "incarnation": "beef"},
            "operations": {
                NAMES[letter]: {**totals, "waiting": 7 + totals["completed"] % 5, "parked": 1, "ongoing": 2, "dead": 0}
                for letter, totals in self._totals.items()
            },
            "accounts": 100 + self.sequence,
            "collected": 0,
            "resting": 1,
            "dead": 0,
            "rates": {"pages": 12.5, "records": 1234.1, "jobs": 3.0},
            "totals": {"discovered": 40 + self.sequence},
            "workers": [{"name": "worker-001", "jobs": ["T 1"]}, {"name": "worker-002", "jobs": []}],
            "budgets": {
                "twitter|10.0.0.1|statuses/user_timeline": {
                    "available": 100,
                    "limit": 900,
                    "outstanding": 3,
                    "resets_in_s": 33.3,
                },
                "twitter|app|unknown": {"available": 1, "limit": None, "outstanding": 0, "resets_in_s": None},
            },
            "consumers": [{"name": "stats", "sequence": self.sequence, "lag": 0}, {"name": "lookup", "lag": 12}],
        }
