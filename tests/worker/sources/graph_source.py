"""A source of a graph in a file, without HTTP, against the public interface alone: what another network takes.

Run with the words of `tmatic-worker`, it is a worker of that source; the file is named by GRAPH_SOURCE.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import orjson

from protocol.jobs import Operation, Outcome
from protocol.messages import BudgetReport, Caller
from protocol.settings.settings import Settings
from storage.dataset.interface import Record
from tests.storage.dataset.table_dataset import register
from worker import command
from worker.client.allowance import RequestAllowance
from worker.client.errors import UnavailableError
from worker.client.heard_budgets import NOTHING_SAID, HeardBudgets
from worker.sources import DEFAULT, SOURCES
from worker.sources.source import Profile, SourcePage

PAGE = 3
"""Followers of one page."""


class GraphSource:
    """A service that counts nothing. Its name is the crawl's, which knows one service so far."""

    service = DEFAULT
    profiles_at_once = 5

    def __init__(self, settings: Settings) -> None:
        self.budgets = HeardBudgets()
        self.followers: dict[str, list[str]] = {}
        with open(os.environ["GRAPH_SOURCE"], encoding="utf-8") as edges:
            for follower, _, followed in (line.strip().partition("\t") for line in edges):
                self.followers.setdefault(followed, []).insert(0, follower)

    def callers(self) -> list[Caller]:
        return [Caller(operation.value, "nobody", "graph") for operation in Operation]

    def reader(self, who: str, allowance: RequestAllowance, told: Callable[[int], None]) -> GraphReader:
        return GraphReader(self, who, allowance, told)


class GraphReader:
    """The calls of one lease."""

    def __init__(self, source: GraphSource, who: str, allowance: RequestAllowance, told: Callable[[int], None]) -> None:
        self._source, self._who, self._allowance, self._told = source, who, allowance, told

    def _asked(self) -> None:
        """One request was sent, and is answered."""
        self._allowance.spend()
        now = time.monotonic()
        self._source.budgets.hear(now, BudgetReport(self._who, "graph", NOTHING_SAID, 0, 0, 0), now)
        self._allowance.answered()
        self._told(self._allowance.spent)

    def posts(self, user: str, cursor: str, since: str) -> SourcePage:
        self._asked()
        return SourcePage((), "")

    def followers(self, user: str, cursor: str) -> SourcePage:
        self._asked()
        if user not in self._source.followers:
            raise UnavailableError(Outcome.DELETED, "not in the graph")
        first = int(cursor or 0)
        listed = self._source.followers[user]
        page = tuple(Record(one, one.encode()) for one in listed[first : first + PAGE])
        return SourcePage(page, str(first + PAGE) if first + PAGE < len(listed) else "", len(listed))

    def profiles(self, users: Sequence[str]) -> list[Profile]:
        self._asked()
        described = [{"id_str": user, "followers_count": len(self._source.followers.get(user, ()))} for user in users]
        return [Profile(Record(str(one["id_str"]), orjson.dumps(one)), one) for one in described]


if __name__ == "__main__":
    register()
    SOURCES[DEFAULT] = GraphSource
    command.main()
