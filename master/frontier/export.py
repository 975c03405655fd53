"""The frontier as a file: the collected accounts, to be the `--stream` of the next crawl."""

from __future__ import annotations

import gzip
import time
from typing import BinaryIO

from master.frontier.traversal import COLLECTED
from storage.dataset.interface import Dataset
from storage.ledger.ledger import Ledger


def write_frontier(ledger: Ledger, dataset: Dataset, name: str) -> str | None:
    """Store the collected ids as `NAME-….gz` beside the data, one per line; returns where, None for nothing.

    Raises LedgerError or DatasetError.
    """
    if not ledger.length(COLLECTED):
        return None

    def write(raw: BinaryIO) -> None:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw) as file:
            for account in ledger.queue(COLLECTED):
                file.write(account + b"\n")

    return dataset.keep(f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.gz", write)
