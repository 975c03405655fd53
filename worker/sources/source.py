"""What a module may ask of a service, whatever the service is called.

A source says whom its service counts (`callers`), and opens a reader for each lease. A reader's calls send requests:
they raise what `retrying_client` raises, and UnavailableError for an account that will not be shown however often one
asks.
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
    """A page as the service gave it. `next` is where the next one starts, empty after the last.

    `expected` is how many records there are in all, if the service says it.
    """

    records: tuple[Record, ...]
    next: str
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """An account as it describes itself: the line to keep, and its fields for the rule."""

    record: Record
    fields: dict[str, Any]


class SourceReader(Protocol):
    """The calls of one lease. Cursors are the service's words, empty for the beginning."""

    def posts(self, user: str, cursor: str, since: str) -> SourcePage:
        """A page of posts, newest first; only those newer than the post `since`, if it is not empty."""

    def followers(self, user: str, cursor: str) -> SourcePage:
        """A page of ids of followers, in the service's order."""

    def profiles(self, users: Sequence[str]) -> list[Profile]:
        """The profiles of at most `profiles_at_once` accounts; those that the service does not show are missing."""


class Source(Protocol):
    """One service. `budgets` holds what it says of its limits."""

    service: str
    profiles_at_once: int
    budgets: HeardBudgets

    def callers(self) -> list[Caller]:
        """Whom the service counts, for each operation."""

    def reader(self, who: str, allowance: RequestAllowance, told: Callable[[int], None]) -> SourceReader:
        """The calls of a lease that is to be counted for `who`. Raises ServiceError when that is nobody of ours."""
