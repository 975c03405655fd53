"""Queries of the index while it is being written: for the monitor's pages and for the shell.

The index is opened read-only. A commit is visible to the next query, or within a second on a search server; so is an
index that replaced the former one. One query is answered at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from protocol.errors import MalformedError
from protocol.settings.settings import Settings
from services.indexer.engines.index_location import home_of
from services.indexer.index import IndexReader, SearchAnswer, TornError
from services.indexer.posts import Document
from services.indexer.query import Unit, parse
from services.indexer.words import is_text
from storage.dataset.interface import RecordKind, record_id
from storage.dataset.open import open_dataset

T = TypeVar("T")


def _is_post(line: bytes, identifier: str) -> bool:
    """Whether a stored line is the post with this id. False for lines that are not posts, which the indexer logs."""
    try:
        return record_id(RecordKind.TIMELINE, line) == identifier
    except MalformedError:
        return False


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, and the posts with a place among all that match, for a map."""

    answer: SearchAnswer
    located: tuple[Document, ...] = ()


class Search:
    """The index of a crawl, for queries from any thread. Raises IndexingError when it cannot be queried."""

    def __init__(self, settings: Settings) -> None:
        self._home = home_of(settings)
        self._dataset = open_dataset(settings)
        self._lock = threading.Lock()
        self._reader: IndexReader | None = None

    def search(
        self, text: str, *, limit: int = 20, offset: int = 0, unit: Unit | None = None, tags: int = 0, located: int = 0
    ) -> Found:
        """The posts that match `text`, a query of `services.indexer.query`; with up to `located` posts with a place.

        Raises UsageError when the text is not a valid query or exceeds a limit.
        """
        asked = parse(text, limit=limit, offset=offset, unit=unit, tags=tags)
        mapped = parse(text, limit=located).located(located) if located else None

        def ask(reader: IndexReader) -> Found:
            answer = reader.search(asked)
            return Found(answer, reader.search(mapped).hits if mapped else ())

        return self._ask(ask)

    def post(self, identifier: str) -> Document | None:
        """The post with this id."""
        if not is_text(identifier):
            return None
        return self._ask(lambda reader: reader.post(identifier))

    def whole(self, identifier: str) -> bytes | None:
        """The line of a post as the service wrote it, from the dataset; None when it is not on file (yet)."""
        post = self.post(identifier)
        if post is None:
            return None
        for line in self._dataset.lines(post.account, RecordKind.TIMELINE):
            if _is_post(line, identifier):
                return line
        return None

    def count(self) -> int:
        """The number of posts."""
        return self._ask(lambda reader: reader.count())

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._let_go()

    def _ask(self, question: Callable[[IndexReader], T]) -> T:
        with self._lock:
            try:
                return question(self._present())
            except TornError:
                # The writer may have removed a file between two reads; a torn index is torn the second time too.
                self._let_go()
                return question(self._present())

    def _present(self) -> IndexReader:
        if self._reader is not None and not self._home.is_present(self._reader):
            self._let_go()
        if self._reader is None:
            self._reader = self._home.reader()
        return self._reader

    def _let_go(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
