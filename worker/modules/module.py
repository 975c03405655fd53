"""The interface of a module: a class with a method that yields pages, starting at any cursor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from protocol.jobs import Outcome
from storage.dataset.interface import Record
from worker.sources.source import SourceReader


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """One page of a job. `cursor` is where the next one starts; a page without one is the last.

    `found` are the accounts that it leads to; `expected` is the total number of records, where that is known;
    `outcome` and `why` belong to the last page: why there is no more.
    """

    records: tuple[Record, ...]
    cursor: str
    found: tuple[str, ...] = ()
    expected: int | None = None
    outcome: Outcome = Outcome.COMPLETE
    why: str = ""


class Module(Protocol):
    """One operation on an account."""

    def pages(self, user: str, cursor: str, reader: SourceReader, met: Iterable[str] = ()) -> Iterator[FetchedPage]:
        """The pages from `cursor` on, empty for the beginning; exactly one without a cursor, and none after it.

        The next page is requested only when the previous one is durable and committed. `met` are the cursors of the
        job's pages so far; they are read from the dataset on demand.
        """

    def found_before(self, user: str) -> Iterator[str]:
        """The accounts that the stored records of this operation lead to; for a job that was done before."""
