"""The interface of an index, whatever its engine: one writer, any number of readers, and atomic commits.

Rules that hold for every engine:
  * `commit` stores the posts, the removals and the mark; after a kill at any point of it a reader finds either all of
    them or none. If an engine cannot do so (Elasticsearch), the mark is written last, and repeating a commit changes
    nothing;
  * a post is stored once, under its id; a later version replaces an earlier one;
  * a reader never writes, and sees a commit at most a second after it;
  * all engines answer a query alike: they receive words and numbers, and never split text themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from protocol.errors import TmaticError
from services.indexer.posts import Document
from services.indexer.query import Query, Unit

MAX_DOCUMENTS: Final = 10_000
"""Posts of one commit."""

MAX_BYTES: Final = 32 << 20
"""Bytes of the posts of one commit."""

HOUR_S: Final = 3_600
DAY_S: Final = 86_400

Changes = Mapping[str, Document | None]
"""Posts by their ids; None removes one."""


class IndexingError(TmaticError):
    """The index cannot be used, or refuses: another writer has it, it is unavailable, or it is not of this program."""


class TornError(IndexingError):
    """Files of the index are missing, or differ from what was written."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The result of a query. `total` counts all posts that match, `hits` are those of the requested page.

    `histogram` has the first second of each hour, day or month with posts, and their number; `hashtags` the most
    frequent ones and their numbers of posts, the more frequent first and then alphabetically.
    """

    total: int
    hits: tuple[Document, ...]
    histogram: tuple[tuple[int, int], ...] = ()
    hashtags: tuple[tuple[str, int], ...] = ()


class IndexReader(Protocol):
    """An index open for reading. All methods raise IndexingError with a message for people."""

    def mark(self) -> str | None:
        """The mark of the last commit; None before the first."""

    def search(self, query: Query) -> SearchAnswer:
        """The posts that match."""

    def post(self, identifier: str) -> Document | None:
        """The post with this id."""

    def count(self) -> int:
        """The number of posts."""

    def close(self) -> None:
        """Close files and connections."""


class IndexWriter(IndexReader, Protocol):
    """An index open for writing, by one process alone."""

    def commit(self, changes: Changes, mark: str | None) -> None:
        """Store these changes together with the mark; without a mark the previous one stays."""

    def ids_of(self, account: str) -> set[str]:
        """The ids of all posts in the timeline of an account, as of the last commit."""

    def accounts(self) -> set[str]:
        """The accounts with posts in their timelines, as of the last commit, and perhaps some that had posts once."""


def bounded(changes: Iterable[tuple[str, Document | None]]) -> Iterator[dict[str, Document | None]]:
    """The changes in parts small enough for one commit each; of two changes for an id in a part, the later is kept."""
    part: dict[str, Document | None] = {}
    size = 0
    for identifier, document in changes:
        part[identifier] = document
        size += document.size if document else len(identifier)
        if len(part) >= MAX_DOCUMENTS or size >= MAX_BYTES:
            yield part
            part, size = {}, 0
    if part:
        yield part


def over_time(unit: Unit, counted: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """A histogram from counts of finer steps, given as (first second, posts). Unknown times are left out."""
    totals: Counter[int] = Counter()
    for second, posts in counted:
        if second > 0:
            totals[bucket(unit, second)] += posts
    return tuple(sorted(totals.items()))


def bucket(unit: Unit, second: int) -> int:
    """The first second of the hour, day or month that contains a second."""
    if unit is Unit.HOUR:
        return second - second % HOUR_S
    if unit is Unit.DAY:
        return second - second % DAY_S
    day = datetime.fromtimestamp(second, UTC)
    return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())


def step_s(unit: Unit) -> int:
    """Seconds of the steps in which an engine counts; months are sums of them."""
    return HOUR_S if unit is Unit.HOUR else DAY_S


def most_frequent(counted: Iterable[tuple[str, int]], most: int) -> tuple[tuple[str, int], ...]:
    """The hashtags with the highest counts; ties are broken alphabetically."""
    return tuple(sorted(counted, key=lambda entry: (-entry[1], entry[0]))[:most])
