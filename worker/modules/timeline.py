"""Timelines: every post that the service still returns, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from worker.client.attempt_counter import AttemptCounter
from worker.modules.module import FetchedPage
from worker.modules.pagination import walk
from worker.sources.source import SourceReader


class Timeline:
    """`T`. A short page is not the end: only an empty one is."""

    def __init__(self, patience: AttemptCounter) -> None:
        self._patience = patience

    def pages(self, user: str, cursor: str, reader: SourceReader, met: Iterable[str] = ()) -> Iterator[FetchedPage]:
        """Pages of posts, newest first. Their cursors only decrease, and cannot form a cycle."""
        return walk(f"T {user}", cursor, lambda at: reader.posts(user, at, ""), self._patience)

    def found_before(self, user: str) -> Iterator[str]:
        """None: a timeline discovers no accounts."""
        return iter(())
