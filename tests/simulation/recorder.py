"""The real ledger, which remembers what was written to it, so that it can be rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from storage.ledger import Ledger


@dataclass
class Recorder(Ledger):
    """The real ledger; remembers every write, to be able to roll back."""

    def __init__(self, client: redis.Redis, crawl: str) -> None:
        super().__init__(client, crawl)
        self.client = client
        self.writes: list[list[Any]] = []

    def _call(self, request: list[Any]) -> Any:
        answer = super()._call(request)
        self.writes.append(request)
        return answer

    def roll_back(self, keep: int) -> None:
        """Forget all but the first `keep` writes."""
        prefix, self.writes = self.writes[:keep], []
        self.client.flushdb()
        for request in prefix:
            self._call(request)
