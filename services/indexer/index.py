"""What an index is, whichever engine keeps it: one writer, any number of readers, and commits that are whole.

Rules that hold for every engine:
  * `commit` stores the posts, the removals and the mark; after a kill at any point of it a reader finds either all of
    that or nothing of it. Where an engine cannot do so (Elasticsearch), the mark is written last, and a commit that is
    repeated changes nothing;
  * a post is there once, under its id; a later version takes the place of an earlier one;
  * a reader never writes, and sees a commit at the latest a second after it;
  * the same question has the same answer from each: engines are handed words and numbers, and cut no text themselves.
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
    """The index cannot be used, or refuses: another writer has it, it is away, or it is not one of ours."""


class TornError(IndexingError):
    """Files of the index are missing or are not what was written."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What was found. `total` counts all posts that match, `hits` are those of the page that was asked for.

    `histogram` has the first second of each hour, day or month that has posts, and how many; `hashtags` the most
    frequent ones and in how many posts, the more frequent first and then by the alphabet.
    """

    total: int
    hits: tuple[Document, ...]
    histogram: tuple[tuple[int, int], ...] = ()
    hashtags: tuple[tuple[str, int], ...] = ()


class IndexReader(Protocol):
    """An index that is asked. All raise IndexingError in words."""

    def mark(self) -> str | None:
        """What the last commit left beside the posts; None before the first."""

    def search(self, query: Query) -> SearchAnswer:
        """What matches."""

    def post(self, identifier: str) -> Document | None:
        """The post with this id."""

    def count(self) -> int:
        """How many posts there are."""

    def close(self) -> None:
        """Let go of files and connections."""


class IndexWriter(IndexReader, Protocol):
    """An index that is written to, by one process alone."""

    def commit(self, changes: Changes, mark: str | None) -> None:
        """Store these changes, and the mark with them; without a mark the former one stays."""

    def ids_of(self, account: str) -> set[str]:
        """The ids of all posts that stand in the timeline of an account, as of the last commit."""

    def accounts(self) -> set[str]:
        """The accounts in whose timelines posts stand, as of the last commit, and perhaps some that had posts once."""


def bounded(changes: Iterable[tuple[str, Document | None]]) -> Iterator[dict[str, Document | None]]:
    """The changes in parts that are small enough for one commit each; of two for the same id in a part the later."""
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
    """A histogram from counts of finer steps, given as (first second, posts). Times that are not known are left out."""
    totals: Counter[int] = Counter()
    for second, posts in counted:
        if second > 0:
            totals[bucket(unit, second)] += posts
    return tuple(sorted(totals.items()))


def bucket(unit: Unit, second: int) -> int:
    """The first second of the hour, the day or the month that a second lies in."""
    if unit is Unit.HOUR:
        return second - second % HOUR_S
    if unit is Unit.DAY:
        return second - second % DAY_S
    day = datetime.fromtimestamp(second, UTC)
    return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())


def step_s(unit: Unit) -> int:
    """Seconds of the steps in which an engine counts, from which months are added up."""
    return HOUR_S if unit is Unit.HOUR else DAY_S


def most_frequent(counted: Iterable[tuple[str, int]], most: int) -> tuple[tuple[str, int], ...]:
    """The hashtags with the highest counts; of equal ones those that come first in the alphabet."""
    return tuple(sorted(counted, key=lambda entry: (-entry[1], entry[0]))[:most])
