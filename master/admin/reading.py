"""A crawl opened by a tool, which needs a valid ledger: invalid contents are reported in one sentence."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

import msgpack

from master.admin import dead_letters
from master.frontier import plan
from master.startup.open_crawl import OpenCrawl, resting
from protocol.errors import LedgerError
from protocol.settings.settings import Settings
from storage.ledger import ledger

KEYS = {
    (ledger.__file__, "observe"): "lead",
    (ledger.__file__, "held"): "held",
    (ledger.__file__, "dead"): "dead",
    (ledger.__file__, "dropped"): "dropped",
    (ledger.__file__, "retry"): "retry",
    (ledger.__file__, "readers"): "readers",
    (ledger.__file__, "totals"): "totals",
    (ledger.__file__, "heads"): "heads",
    (ledger.__file__, "remembered"): "crawl",
    (ledger.__file__, "sizes"): "sets",
    (ledger.__file__, "accounts"): "set",
    (ledger.__file__, "log"): "log",
    (plan.__file__, "recall"): "crawl",
    (dead_letters.__file__, "requeued"): "dead",
}
"""The key of the ledger that each function reads."""


@contextlib.contextmanager
def reading(settings: Settings) -> Iterator[OpenCrawl]:
    """What `resting` opens. Raises LedgerError for a key with contents that no crawl wrote; an error anywhere else
    keeps its traceback."""
    try:
        with resting(settings) as opened:
            yield opened
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        places = [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
        names = [KEYS[place] for place in places if place in KEYS]
        if not names:
            raise
        key = f"{{tmatic:{settings.crawl}}}:{names[-1]}"
        why = str(error) or type(error).__name__
        raise LedgerError(f"the ledger's key {key} holds what no master wrote there: {why}") from error
