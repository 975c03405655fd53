"""The counts of events, which are stored in each commit with the position: so they are exact, however often we die.

Results are counted by operation. When events are unavailable, the missing results are counted from the receipts.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.jobs import Operation, Outcome
from storage.dataset.receipts import Receipt

ORDER: Final = (Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE, Operation.UPDATE)


@dataclass(slots=True)
class EventCounts:
    """Totals since the start of the recording. `results` counts the ends of jobs, except analyses that found no list.
    `known` names the list of jobs counted from the dataset, by the unix time in milliseconds of that count; 0 is none.
    `leadership` is the one that leased a job that was counted, as a mark: the dataset of the crawl has its receipt,
    whatever happens to the ledger; 0 before there is one."""

    results: dict[Operation, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    records: dict[Operation, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    failed: dict[Operation, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    leads: int = 0
    known: int = 0
    leadership: int = 0

    @property
    def takeovers(self) -> int:
        """How often the lead was taken after the first time."""
        return max(0, self.leads - 1)

    def packed(self) -> list[int]:
        """As numbers, for a member's header."""
        sums = (self.results, self.records, self.failed)
        return [*(by[operation] for by in sums for operation in ORDER), self.leads, self.known, self.leadership]

    @classmethod
    def unpacked(cls, numbers: Sequence[int]) -> EventCounts:
        """The counts that `packed` wrote; missing numbers are 0, additional ones are of a later version."""
        padded = [*numbers, *[0] * 15]
        results, records, failed = (dict(zip(ORDER, padded[at : at + 4], strict=True)) for at in (0, 4, 8))
        return cls(results, records, failed, leads=padded[12], known=padded[13], leadership=padded[14])

    def copy(self) -> EventCounts:
        """An independent copy."""
        return EventCounts.unpacked(self.packed())


def mark(operation: Operation, user: str, token: str = "") -> int:
    """The 64 bits that identify a job in the list of counted jobs. An account is updated repeatedly, so an update is
    identified by its lease too."""
    return _mark(f"{operation.value} {user} {token if operation is Operation.UPDATE else ''}")


def leadership_of(token: str) -> int:
    """The mark of the leadership that granted a lease: tokens start with its incarnation."""
    return _mark(token.partition(":")[0])


def _mark(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class CountedJobs:
    """The jobs that were counted from the dataset: 8 bytes each, sorted."""

    def __init__(self, marks: array[int] | None = None) -> None:
        self._marks = marks if marks is not None else array("Q")

    def __contains__(self, wanted: int) -> bool:
        at = bisect_left(self._marks, wanted)
        return at < len(self._marks) and self._marks[at] == wanted

    def __len__(self) -> int:
        return len(self._marks)

    def packed(self) -> bytes:
        """As bytes, for a file."""
        return self._marks.tobytes()

    @classmethod
    def unpacked(cls, data: bytes) -> CountedJobs:
        """The jobs that `packed` wrote."""
        marks = array("Q")
        marks.frombytes(data[: len(data) // 8 * 8])
        return cls(marks)


@dataclass(slots=True)
class Surveyed:
    """A summary of the receipts of a crawl: numbers of jobs done and of their records, the jobs, the leaderships."""

    results: dict[Operation, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    records: dict[Operation, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    known: CountedJobs = field(default_factory=CountedJobs)
    leaderships: set[int] = field(default_factory=set)


def survey(receipts: Iterable[Receipt], crawl: str) -> Surveyed:
    """Add up the receipts of a crawl. Of the updates of an account only the last one has a receipt. An analysis that
    found no list does not count as done: it is repeated when the list exists."""
    found = Surveyed()
    marks = array("Q")
    for receipt in receipts:
        if receipt.crawl != crawl:
            continue
        found.leaderships.update(map(leadership_of, receipt.tokens))
        if receipt.outcome is Outcome.NO_LIST:
            continue
        found.results[receipt.operation] += 1
        found.records[receipt.operation] += receipt.received
        marks.append(mark(receipt.operation, receipt.user, receipt.tokens[-1] if receipt.tokens else ""))
    found.known = CountedJobs(array("Q", sorted(marks)))
    return found
