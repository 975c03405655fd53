"""Timelines: every post that the service still shows, from the newest back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from worker.modules.module import Fetched
from worker.modules.walking import walk
from worker.patience import Patience
from worker.sources.source import Reader


class Timeline:
    """`T`. A short page is not the end: only one without posts is."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def pages(self, user: str, cursor: str, reader: Reader, met: Iterable[str] = ()) -> Iterator[Fetched]:
        """Pages of posts, newest first. Their cursors only go down, and cannot lead in circles."""
        return walk(f"T {user}", cursor, lambda at: reader.posts(user, at, ""), self._patience)

    def found_before(self, user: str) -> Iterator[str]:
        """None: this leads nowhere."""
        return iter(())
