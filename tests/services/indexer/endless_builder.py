"""`tmatic-indexer` on a dataset that has no end: what it builds, it builds until somebody stops it.

    python -m tests.services.indexer.endless_builder first|rebuild|resynchronise ARGUMENTS

It prints a line at the end of each pass through the dataset. `first` follows a crawl without an index, `resynchronise`
one whose events are gone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

from services.indexer import backfill, command
from services.subscriber.consumer import Position
from services.subscriber.subscriber import Subscriber
from storage.dataset.interface import Dataset


def endless(dataset: Dataset) -> Iterator[str]:
    while True:
        yield from accounts(dataset)
        print("once more", flush=True)


def gone(self: Subscriber, stopped: threading.Event | None = None) -> None:
    backfill.accounts = endless
    self._consumer.resynchronise(Position("ledger", "first", 9))


accounts = backfill.accounts

if __name__ == "__main__":
    case, *arguments = sys.argv[1:]
    Subscriber.run = gone  # type: ignore[method-assign]
    if case != "resynchronise":
        backfill.accounts = endless
    sys.argv = ["tmatic-indexer", "rebuild" if case == "rebuild" else "follow", *arguments]
    command.main()
