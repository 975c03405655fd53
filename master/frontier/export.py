"""The frontier as a file: the accounts that were collected, for a next crawl to take as its `--stream`."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

from master.frontier.traversal import COLLECTED
from storage.durable import in_words, replacing
from storage.ledger.ledger import Ledger


def write_frontier(ledger: Ledger, directory: Path, name: str) -> Path | None:
    """Write what was collected to `directory/NAME-….gz`, one id a line, whole or not at all; None for nothing.

    Raises LedgerError or DatasetError.
    """
    if not ledger.length(COLLECTED):
        return None
    path = directory / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.gz"
    with in_words(f"write {path}"), replacing(path) as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw) as file:
        for account in ledger.queue(COLLECTED):
            file.write(account + b"\n")
    return path
