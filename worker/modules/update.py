"""Updates: only the posts that are newer than the newest on file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from storage.dataset.interface import Dataset
from worker.client.attempt_counter import AttemptCounter
from worker.modules.module import FetchedPage
from worker.modules.pagination import walk
from worker.sources.source import SourceReader


class Update:
    """`U`. The newest post at its start is part of its cursor, `SINCE CURSOR`: it holds for all pages of the job,
    whatever is stored meanwhile. If there is no timeline yet, it fetches all of it."""

    def __init__(self, dataset: Dataset, patience: AttemptCounter) -> None:
        self._dataset, self._patience = dataset, patience

    def pages(self, user: str, cursor: str, reader: SourceReader, met: Iterable[str] = ()) -> Iterator[FetchedPage]:
        """Pages of posts, newest first, down to the newest stored one. Cursors only decrease."""
        if cursor:
            since, _, start = cursor.partition(" ")
        else:
            since, start = self._dataset.newest(user) or "", ""
        for page in walk(
            f"U {user} {since}",
            start,
            lambda at: reader.posts(user, at, since),
            self._patience,
            lambda at: f"{since} {at}",
        ):
            yield replace(page, expected=None)

    def found_before(self, user: str) -> Iterator[str]:
        """None: an update discovers no accounts."""
        return iter(())
