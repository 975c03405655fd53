"""The consumer: applies events to the index. A `Subscriber` passes them to it, in one thread.

Rules:
  * posts and position are stored in one commit. Only if a batch of events is too large for one commit, its first posts
    are stored before it, under the previous position: after a kill in between they are stored again;
  * at the end the index holds the posts in the timelines of the dataset, each once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from protocol.errors import MalformedError
from protocol.logs import fields
from services.indexer.backfill import again, compared, documents, strays
from services.indexer.index import IndexWriter, bounded
from services.indexer.posts import Document
from services.indexer.progress import IndexAction, IndexProgress, step
from services.subscriber.consumer import Event, Position
from services.subscriber.payloads import lines_of
from storage.dataset.interface import Dataset

log = logging.getLogger(__name__)

Anew = Callable[[Position], IndexWriter]
"""Builds another index from the dataset, under a position, to replace the current one, which is kept."""

Lasting = Callable[[], contextlib.AbstractContextManager[None]]


class Indexer:
    """The index of a crawl, following its events."""

    topics: tuple[str, ...] = ("timeline.", "job.")

    def __init__(
        self,
        index: IndexWriter,
        dataset: Dataset,
        name: str = "indexer",
        *,
        anew: Anew | None = None,
        lasting: Lasting = contextlib.nullcontext,
    ) -> None:
        """`name` is its name at the masters; two indexes of one crawl have two names. Without `anew`, posts that are
        not in the dataset are removed from an index of another crawl, which is not put aside. `lasting` is entered for
        long operations, which an exception may interrupt anywhere, and which are then repeated at the next start."""
        self.name = name
        self._index = index
        self._dataset = dataset
        self._anew = anew
        self._progress = IndexProgress.unpacked(index.mark())
        self._lasting = lasting

    def position(self) -> Position | None:
        """The position stored with the posts."""
        return self._progress.position

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Store the posts of the events, and the position.

        An index without a position was built from a dataset; only its accounts show whether from this one.
        """
        if self._progress.position is None and self._dataset.is_there and strays(self._dataset, self._index):
            self.resynchronise(position)  # the posts of the events are on file, or will be when their job ends
            return
        progress = self._progress.at(position)
        changes = self._changes(events, progress)
        last: dict[str, Document | None] = {}
        for part in bounded(changes):
            if last:
                self._index.commit(last, None)
            last = part
        self._index.commit(last, progress.packed())
        self._progress = progress

    def resynchronise(self, position: Position) -> None:
        """Compare the whole index with the dataset, and continue from the position.

        An index of another ledger with posts of accounts that the dataset does not have belongs to another crawl: it
        is left unchanged, and another one is built. Another ledger alone is not enough: the same dataset may get one.
        """
        with self._lasting():
            self._compare_all(position)

    def _compare_all(self, position: Position) -> None:
        log.info("comparing the index with the dataset")
        begun = self._progress.accounts()
        found = strays(self._dataset, self._index)
        others = {account: posts for account, posts in found.items() if account not in begun}
        before, progress = self._progress.position, IndexProgress(position)
        if self._anew is not None and others and (before is None or before.ledger != position.ledger):
            log.warning(
                "the index is of another crawl, and is kept; another one is built from the dataset",
                extra=fields(its_position=before, position=position, accounts=len(others)),
            )
            former, self._index = self._index, self._anew(position)
            former.close()
        else:
            # Posts are stored before the last commit: from here on no open job may count as whole, even after a kill.
            self._progress = self._progress.with_all_broken()
            self._index.commit({}, self._progress.packed())
            if others:
                log.warning(
                    "accounts of the index have no file in the dataset; their posts are taken out of the index",
                    extra=fields(accounts=len(others), posts=sum(others.values())),
                )
            again(self._dataset, self._index, begun | others.keys(), progress.packed())
        self._progress = progress
        log.info("the index holds what the dataset holds", extra=fields(posts=self._index.count()))

    def close(self) -> None:
        """Close the current index."""
        self._index.close()

    def hear(self, topic: str, body: Any) -> None:
        """Ignore gauges and log lines, which are not indexed."""

    def _changes(self, events: Sequence[Event], progress: IndexProgress) -> Iterator[tuple[str, Document | None]]:
        coming: dict[str, set[str]] = {}
        for event in events:
            lines = None if event.payload is None else _lines(event)
            todo, account = step(progress, event.topic, event.record, None if lines is None else len(lines))
            if todo is IndexAction.TAKE and lines is not None:
                taken = coming.setdefault(account, set())
                for post in documents(iter(lines), account):
                    taken.add(post.id)
                    yield post.id, post
            elif todo is IndexAction.COMPARE:
                yield from compared(self._dataset, self._index, account, coming.get(account, set()))


def _lines(event: Event) -> list[bytes] | None:
    """The lines of the payload; None when they cannot be read, so that the file is read instead."""
    try:
        return lines_of(event.payload or b"")
    except MalformedError as error:
        log.error("what rode along with an event cannot be read", extra=fields(sequence=event.sequence, why=error))
        return None
