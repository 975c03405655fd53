"""The crawled service and the dataset, as far as the simulation needs them: exact, counted, and with windows."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from protocol.jobs import Operation, Segment

PAGE = 2
"""Records a page; with 4 to 6 records a list, most jobs have 3 pages."""


@dataclass
class Graph:
    """Who follows whom, and how many posts each account has."""

    followers: dict[str, list[str]]
    posts: dict[str, list[str]]

    @staticmethod
    def draw(chance: random.Random, accounts: int, *, near: int = 0) -> Graph:
        """At random; with `near`, followers are among the next so many accounts, and discoveries come all along."""
        ids = [str(2**62 + 7919 * n) if n % 3 else str(1000 + n) for n in range(accounts)]
        followers = {}
        for n, account in enumerate(ids):
            ahead = [ids[(n + step) % accounts] for step in range(1, accounts)]
            others = ahead[:near] if near else ahead
            chosen = chance.sample(others, chance.randint(4, 6))
            following = ids[(n + 1) % accounts]  # a ring, so that every account is reached
            followers[account] = list(dict.fromkeys([*chosen, following]))
        posts = {account: [f"{account}{n}" for n in range(chance.randint(4, 6))] for account in ids}
        return Graph(followers, posts)

    def within(self, targets: list[str], depth: int) -> list[str]:
        """The accounts fewer than `depth` steps from a target (0: however far), breadth first."""
        reached = dict.fromkeys(targets, 0)
        edge = list(targets)
        while edge:
            account = edge.pop(0)
            for follower in self.followers[account]:
                if follower not in reached and (not depth or reached[account] + 1 < depth):
                    reached[follower] = reached[account] + 1
                    edge.append(follower)
        return list(reached)


@dataclass
class Answer:
    """One answer of the service. `page` is None where it failed; `refused` where the window was spent; `lost` where it
    never arrives."""

    page: list[str] | None
    cursor: str
    remaining: int
    window: int
    reset_in: float
    refused: bool = False
    lost: bool = False


@dataclass
class Service:
    """Answers by offset; counts per caller and endpoint, in windows that begin with a request."""

    graph: Graph
    limit: int
    window: float
    windows: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    refused: int = 0
    fail_next: int = 0
    lose_next: int = 0

    def ask(self, now: float, who: str, operation: Operation, user: str, cursor: str) -> Answer:
        key = (who, operation.value)
        ends, left = self.windows.get(key, (float("-inf"), 0))
        if now >= ends:
            ends, left = now + self.window, self.limit
        refused = left == 0
        left = max(0, left - 1)
        self.windows[key] = (ends, left)
        answer = Answer(None, cursor, left, int(ends * 1000), ends - now, refused)
        if refused:
            self.refused += 1
            return answer
        if self.lose_next:
            self.lose_next -= 1
            answer.lost = True
            return answer
        if self.fail_next:
            self.fail_next -= 1
            return answer
        records = self.graph.posts[user] if operation is Operation.TIMELINE else self.graph.followers[user]
        first = int(cursor or 0)
        answer.page = records[first : first + PAGE]
        answer.cursor = str(first + PAGE) if first + PAGE < len(records) else ""
        return answer


@dataclass
class Dataset:
    """Segments by token and merged files by account; what is written is durable, a tail may be torn."""

    segments: dict[str, list[list[str]]] = field(default_factory=dict)
    files: dict[tuple[Operation, str], list[str]] = field(default_factory=dict)
    epoch: int = 0

    def append(self, token: str, pages: int, page: list[str]) -> int:
        kept = self.segments.setdefault(token, [])
        del kept[pages:]
        kept.append(page)
        return len(kept)

    def merge(self, operation: Operation, user: str, segments: list[Segment], last: list[str]) -> None:
        fresh = [record for s in segments for page in self.segments[s.token][: s.length] for record in page]
        before = self.files.get((operation, user), [])
        self.files[operation, user] = list(dict.fromkeys([*fresh, *last, *before]))
