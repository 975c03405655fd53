"""Opens the index at start, and rebuilds it from the dataset when it is torn or on request."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from protocol.errors import MalformedError
from protocol.logs import fields
from services.indexer.backfill import Told, fill
from services.indexer.engines.index_location import IndexLocation
from services.indexer.index import IndexWriter, TornError
from services.indexer.posts import READING
from services.indexer.progress import IndexProgress
from services.subscriber.consumer import Position
from storage.dataset.interface import Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A new index: the index, the number of its posts, and where the former one is, None when there was none."""

    index: IndexWriter
    posts: int
    former: str | None


def opened(home: IndexLocation, dataset: Dataset) -> IndexWriter:
    """The current index, open for writing. A torn one is left where it is, and replaced by a new one. The first one is
    built from what the dataset holds already, whose events may be unavailable. The caller holds the lock."""
    if home.present() is None:
        return rebuild(home, dataset).index
    try:
        index = home.open()
        try:
            reading = IndexProgress.unpacked(index.mark()).reading
        except MalformedError as error:
            index.close()
            raise TornError(str(error)) from error
    except TornError as error:
        log.error("the index is torn; building it anew from the dataset", extra=fields(why=error, kept=home.present()))
        rebuilt = rebuild(home, dataset)
        log.info("the index is whole again", extra=fields(posts=rebuilt.posts))
        return rebuilt.index
    if reading < READING:
        log.warning(
            "the index was made by an earlier version, which took less from reposts, quotes and long posts: say "
            "`tmatic-indexer rebuild` to have all of them found",
            extra=fields(place=home.present()),
        )
    return index


def rebuild(
    home: IndexLocation, dataset: Dataset, told: Told | None = None, *, position: Position | None = None
) -> Rebuilt:
    """Rebuild the index, and replace the former one, which is kept. The caller holds the lock.

    The position of the former index is kept if it can be read, unless another one is given: it was read before the
    dataset was, so everything announced before it is on file, except jobs that had not ended; those are found to be
    incomplete when they end.
    """
    former = home.present()
    if former and position is None:
        position = _position_of(home)
    fresh = home.begin()
    posts = fill(dataset, fresh, IndexProgress(position).packed(), told)
    return Rebuilt(home.finish(fresh), posts, former)


def another(home: IndexLocation, dataset: Dataset, position: Position) -> IndexWriter:
    """An index for another crawl than that of the current one, which is kept, and may still be open."""
    rebuilt = rebuild(home, dataset, position=position)
    log.info("the index of the other crawl is kept", extra=fields(kept=rebuilt.former, place=home.present()))
    return rebuilt.index


def _position_of(home: IndexLocation) -> Position | None:
    try:
        index = home.open()
        mark = index.mark()
        index.close()
        return IndexProgress.unpacked(mark).position
    except (TornError, MalformedError):
        pass
    try:
        return IndexProgress.unpacked(home.sealed_mark()).position
    except MalformedError:
        return None
