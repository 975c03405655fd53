"""The interface of a service for modules.

A source names the callers that its service counts (`callers`), and opens a reader for each lease. A reader's calls send
requests: they raise what `retrying_client` raises, and UnavailableError for an account that will not be shown on any
retry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from protocol.messages import Caller
from storage.dataset.interface import Record
from worker.client.allowance import RequestAllowance
from worker.client.heard_budgets import HeardBudgets


@dataclass(frozen=True, slots=True)
class SourcePage:
    """A page as the service returned it. `next` is the cursor of the next one, empty after the last.

    `expected` is the total number of records, if the service reports it.
    """

    records: tuple[Record, ...]
    next: str
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of an account: the line to store, and its fields for the rule."""

    record: Record
    fields: dict[str, Any]


class SourceReader(Protocol):
    """The calls of one lease. Cursors are the service's, empty for the beginning."""

    def posts(self, user: str, cursor: str, since: str) -> SourcePage:
        """A page of posts, newest first; only those newer than the post `since`, if it is not empty."""

    def followers(self, user: str, cursor: str) -> SourcePage:
        """A page of ids of followers, in the service's order."""

    def profiles(self, users: Sequence[str]) -> list[Profile]:
        """The profiles of at most `profiles_at_once` accounts; those that the service does not return are missing."""


class Source(Protocol):
    """One service. `budgets` holds the limits that it reports."""

    service: str
    profiles_at_once: int
    budgets: HeardBudgets

    def callers(self) -> list[Caller]:
        """The callers that the service counts, for each operation."""

    def reader(self, who: str, allowance: RequestAllowance, told: Callable[[int], None]) -> SourceReader:
        """The calls of a lease that is counted for `who`. Raises ServiceError for a caller of another source."""
