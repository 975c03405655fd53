"""What is counted from events, and goes into each commit beside the position: so it is exact, however often we die.

Results are counted by operation. When events are not to be had any more, the dataset's receipts tell what is missing.
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
    """Sums since the recording began. `results` counts the ends of jobs, but of analyses that found no list. `known`
    names the list of what was counted from the dataset, by the unix time in milliseconds at which it was; 0 is none.
    `leadership` is the one that leased out a job that was counted, as a mark: the dataset of the crawl has its receipt,
    whatever becomes of the ledger; 0 before there is one."""

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
        """What `packed` made; missing numbers are 0, more of them are of a later version."""
        padded = [*numbers, *[0] * 15]
        results, records, failed = (dict(zip(ORDER, padded[at : at + 4], strict=True)) for at in (0, 4, 8))
        return cls(results, records, failed, leads=padded[12], known=padded[13], leadership=padded[14])

    def copy(self) -> EventCounts:
        """One that may change without this one."""
        return EventCounts.unpacked(self.packed())


def mark(operation: Operation, user: str, token: str = "") -> int:
    """By which a job is known in the list of those that were counted: 64 bits. An account is updated again and again,
    so an update is known by its lease too."""
    return _mark(f"{operation.value} {user} {token if operation is Operation.UPDATE else ''}")


def leadership_of(token: str) -> int:
    """The mark of the leadership that gave a lease: tokens begin with its incarnation."""
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
        """What `packed` made."""
        marks = array("Q")
        marks.frombytes(data[: len(data) // 8 * 8])
        return cls(marks)


@dataclass(slots=True)
class Surveyed:
    """What the receipts of a crawl say: how many jobs are done, with how many records, which, and who leased them."""

    results: dict[Operation, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    records: dict[Operation, int] = field(default_factory=lambda: dict.fromkeys(ORDER, 0))
    known: CountedJobs = field(default_factory=CountedJobs)
    leaderships: set[int] = field(default_factory=set)


def survey(receipts: Iterable[Receipt], crawl: str) -> Surveyed:
    """Add up the receipts that a crawl left. Of the updates of an account only the last one has left one. An analysis
    that found no list is not taken for done: it comes again when the list does."""
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
