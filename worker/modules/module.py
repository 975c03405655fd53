"""What a module is: one class with one method that yields pages, and begins at any cursor."""

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

    `found` are the accounts that it leads to; `expected` is how many records there are in all, where that is known;
    `outcome` and `why` are those of the last page: why there is no more than there is.
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

        The next page is asked for only when the one before is durable and committed. `met` are the cursors of the
        job's pages so far; they are read from the dataset when they are asked for.
        """

    def found_before(self, user: str) -> Iterator[str]:
        """The accounts that what is stored of this operation leads to; for a job that was done before."""
