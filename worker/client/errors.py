"""The error for an account that no retry will show."""

from __future__ import annotations

from protocol.jobs import Outcome


class UnavailableError(Exception):
    """The service returns nothing (more) of this account: an outcome, not a failure."""

    def __init__(self, outcome: Outcome, words: str) -> None:
        super().__init__(words)
        self.outcome = outcome
