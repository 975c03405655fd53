"""The consumer: what happens to the index when events come. It is handed them by a `Subscriber`, in one thread.

Rules:
  * posts and position are stored in one commit. Only where one batch of events is too much for one commit, the posts
    of its beginning are stored ahead of it, under the position before: a kill in between has them stored once more;
  * at the end the index holds what is in the timelines of the dataset, each post once.
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
"""Builds another index from the dataset, under a position, in the place of the present one, which is kept."""

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
        """`name` is what the masters know it by; two indexes of one crawl have two names. Without `anew` an index of
        another crawl is emptied of what is not in the dataset, and not put aside. `lasting` is entered for what lasts
        long, may be cut short anywhere by an exception, and is then done again at the next start."""
        self.name = name
        self._index = index
        self._dataset = dataset
        self._anew = anew
        self._progress = IndexProgress.unpacked(index.mark())
        self._lasting = lasting

    def position(self) -> Position | None:
        """What was stored with the posts."""
        return self._progress.position

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Store the posts that the events bring, and the position.

        An index that has no position was made of a dataset, and nothing tells whether of this one but its accounts.
        """
        if self._progress.position is None and self._dataset.is_there and strays(self._dataset, self._index):
            self.resynchronise(position)  # what the events tell of is on file, or is when its job ends
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
        """Compare the whole index with the dataset, and go on from the position.

        An index of another ledger with posts of accounts that the dataset does not have is another crawl's: it is left
        as it is, and another one is built. That alone is not enough: a ledger may be new to a dataset that is the same.
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
            # Posts go ahead of the last commit: from now on no job may be taken for whole that is open, kill or not.
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
        """Let go of the index, whichever it is by now."""
        self._index.close()

    def hear(self, topic: str, body: Any) -> None:
        """Gauges and lines of logs are nothing that is searched here."""

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
    """The lines that rode along; None when they cannot be read, so that the file is read instead."""
    try:
        return lines_of(event.payload or b"")
    except MalformedError as error:
        log.error("what rode along with an event cannot be read", extra=fields(sequence=event.sequence, why=error))
        return None
