"""Copies posts from the dataset into the index: one account, or all of them. The files are authoritative."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Set as AbstractSet
from itertools import chain

from protocol.errors import DatasetError, MalformedError
from protocol.logs import fields
from services.indexer.index import IndexWriter, bounded
from services.indexer.posts import Document, document
from storage.dataset.interface import Dataset, RecordKind

Told = Callable[[int, int], None]
"""Called after each commit with the number of accounts read, and of posts stored or compared."""

log = logging.getLogger(__name__)


def accounts(dataset: Dataset) -> Iterator[str]:
    """The accounts that have a timeline on file; none before there is a dataset."""

    def nameless(where: str) -> None:
        log.error("a file is not in the place of an account's timeline, and is left out", extra=fields(file=where))

    return dataset.accounts(RecordKind.TIMELINE, nameless)


def documents(lines: Iterator[bytes], account: str) -> Iterator[Document]:
    """The posts of an account's lines. Lines that are not posts are left out, and logged in one sentence at the end."""
    left_out, why = 0, ""
    for line in lines:
        try:
            yield document(line, account)
        except MalformedError as error:
            left_out, why = left_out + 1, why or str(error)
    if left_out:
        log.error("stored lines are no posts, and are left out", extra=fields(account=account, lines=left_out, why=why))


class AccountReading:
    """One pass over the posts on file of one account. `whole` is false when the file is damaged.

    Raises DatasetError when the dataset is missing, or the system does not permit reading: neither is a reason to
    remove posts from the index, or to continue without them.
    """

    def __init__(self, dataset: Dataset, account: str) -> None:
        dataset.require_there()
        self._lines = dataset.lines(account, RecordKind.TIMELINE)
        self._account = account
        self.whole = True
        self.ids: set[str] = set()

    def posts(self) -> Iterator[Document]:
        """The posts, newest first."""
        try:
            for post in documents(self._lines, self._account):
                self.ids.add(post.id)
                yield post
        except DatasetError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
                raise  # a disk or system error, which may be temporary; a damaged file has no errno
            self.whole = False
            log.error("a timeline cannot be read, and is left as it is in the index", extra=fields(why=error))


def compared(
    dataset: Dataset, index: IndexWriter, account: str, coming: AbstractSet[str] = frozenset()
) -> Iterator[tuple[str, Document | None]]:
    """The changes that make the index equal to the account's file.

    `coming` are ids of posts of the account that are about to be stored before these changes.
    """
    reading = AccountReading(dataset, account)
    for post in reading.posts():
        yield post.id, post
    if reading.whole:
        for identifier in (index.ids_of(account) | coming) - reading.ids:
            yield identifier, None


def fill(dataset: Dataset, index: IndexWriter, mark: str, told: Told | None = None) -> int:
    """Store all posts on file in an empty index, then the mark. Returns the number of posts stored."""
    return _stored(index, (_all(dataset, one) for one in accounts(dataset)), mark, told)


def strays(dataset: Dataset, index: IndexWriter) -> dict[str, int]:
    """The accounts without a timeline on file that have posts in the index, with the number of posts of each."""
    dataset.require_there()
    found = {}
    for account in index.accounts():
        if not dataset.has(account, RecordKind.TIMELINE) and (posts := len(index.ids_of(account))):
            found[account] = posts
    return found


def again(dataset: Dataset, index: IndexWriter, extra: AbstractSet[str], mark: str, told: Told | None = None) -> int:
    """Compare every account that has a file, and those of `extra`, with the index; then store the mark."""
    dataset.require_there()
    both = chain(accounts(dataset), sorted(extra))
    return _stored(index, (compared(dataset, index, one) for one in both), mark, told)


def _all(dataset: Dataset, account: str) -> Iterator[tuple[str, Document | None]]:
    return ((post.id, post) for post in AccountReading(dataset, account).posts())


def _stored(
    index: IndexWriter,
    changes: Iterable[Iterator[tuple[str, Document | None]]],
    mark: str,
    told: Told | None,
) -> int:
    """Store changes that arrive account by account, in commits that are small enough, under the former mark; when all
    are stored, store the new mark."""
    stored = read = 0

    def one_by_one() -> Iterator[tuple[str, Document | None]]:
        nonlocal read
        for of_account in changes:
            yield from of_account
            read += 1

    for part in bounded(one_by_one()):
        index.commit(part, None)
        stored += len(part)
        if told:
            told(read, stored)
    index.commit({}, mark)
    return stored
