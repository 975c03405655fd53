"""An account that will not be shown, however often one asks."""

from __future__ import annotations

from protocol.jobs import Outcome


class UnavailableError(Exception):
    """There is nothing (more) to be had of this account: an outcome, not a failure."""

    def __init__(self, outcome: Outcome, words: str) -> None:
        super().__init__(words)
        self.outcome = outcome
