"""Follower lists: the ids of all followers, in the service's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from worker.client.attempt_counter import AttemptCounter
from worker.modules.module import FetchedPage
from worker.modules.pagination import walk
from worker.sources.source import SourceReader


class Follower:
    """`F`. Short and empty pages are not the end: the cursor marks it."""

    def __init__(self, patience: AttemptCounter) -> None:
        self._patience = patience

    def pages(self, user: str, cursor: str, reader: SourceReader, met: Iterable[str] = ()) -> Iterator[FetchedPage]:
        """Pages of ids. The cursors of a list may form a cycle over many leases."""
        return walk(f"F {user}", cursor, lambda at: reader.followers(user, at), self._patience, met=met)

    def found_before(self, user: str) -> Iterator[str]:
        """None: a follower list discovers no accounts."""
        return iter(())
