"""Timelines: every post that the service still shows, from the newest back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from worker.client.attempt_counter import AttemptCounter
from worker.modules.module import FetchedPage
from worker.modules.pagination import walk
from worker.sources.source import SourceReader


class Timeline:
    """`T`. A short page is not the end: only one without posts is."""

    def __init__(self, patience: AttemptCounter) -> None:
        self._patience = patience

    def pages(self, user: str, cursor: str, reader: SourceReader, met: Iterable[str] = ()) -> Iterator[FetchedPage]:
        """Pages of posts, newest first. Their cursors only go down, and cannot lead in circles."""
        return walk(f"T {user}", cursor, lambda at: reader.posts(user, at, ""), self._patience)

    def found_before(self, user: str) -> Iterator[str]:
        """None: this leads nowhere."""
        return iter(())
