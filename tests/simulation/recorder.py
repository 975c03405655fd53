"""The real ledger, which remembers what was written to it, so that it can be rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from protocol.errors import FencedError
from storage.ledger.ledger import Ledger
from tests.simulation.violation import Violation


@dataclass
class Recorder(Ledger):
    """The real ledger; remembers every write, to be able to roll back, and sees for itself who writes."""

    def __init__(self, client: redis.Redis, crawl: str) -> None:
        super().__init__(client, crawl)
        self.client = client
        self.writes: list[list[Any]] = []
        self.last_taken = ""
        """The incarnation that took the lead last, and has not given it back."""

    def _call(self, request: list[Any]) -> Any:
        before = self.client.hgetall(self.prefix + "lead")
        try:
            answer = super()._call(request)
        except FencedError:
            if self.client.hgetall(self.prefix + "lead") != before:
                raise Violation("a write that was refused changed the lead") from None
            raise
        if request[0] != "take" and request[1] != self.last_taken:
            raise Violation(f"{request[1]} wrote while {self.last_taken or 'nobody'} led")
        self.writes.append(request)
        if request[0] != "commit":
            self.last_taken = str(request[1]) if request[0] == "take" else ""
        return answer

    def roll_back(self, keep: int) -> None:
        """Forget all but the first `keep` writes."""
        prefix, self.writes, self.last_taken = self.writes[:keep], [], ""
        self.client.flushdb()
        for request in prefix:
            self._call(request)
