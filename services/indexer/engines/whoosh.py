"""The index that needs no further installation: Whoosh-Reloaded, pure Python.

Each post is a Whoosh document: its words with their positions, its id, names and tags as terms, its order and its place
as columns, and all of it as JSON to show. The mark is one more document, replaced in the commit of the posts.

    write   the new segment, in files of its own; sync them
    rename  the table of contents of the new generation into place: this is the commit
    clean   remove the files of earlier generations

Whoosh itself syncs nothing; here its files are made durable before the rename. It reads its own tables with pickle, so
an index from an untrusted source must not be opened.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from whoosh import columns, fields, query  # type: ignore[import-untyped]
from whoosh.analysis import SpaceSeparatedTokenizer  # type: ignore[import-untyped]
from whoosh.filedb.filestore import FileStorage  # type: ignore[import-untyped]
from whoosh.index import FileIndex  # type: ignore[import-untyped]
from whoosh.reading import SegmentReader  # type: ignore[import-untyped]
from whoosh.searching import Searcher  # type: ignore[import-untyped]

from services.indexer.engines.checksums import Checksums
from services.indexer.index import Changes, IndexingError, SearchAnswer, TornError, most_frequent, over_time, step_s
from services.indexer.posts import Document
from services.indexer.query import Between, Phrase, Query, Term, micro_degrees
from services.indexer.words import keyword
from storage.durable import sync_directory

_NOWHERE: Final = -(2**31)
"""The value in the columns of places for posts without one."""

_TAG_END: Final = b"\x00"
_FANOUT: Final = 8
"""Segments of about one size that are merged: small enough to search few, large enough to copy a post seldom."""

_LARGE: Final = 8_000
"""Posts from which a segment is not merged any more, so that no commit takes longer than half a minute."""

_MEMORY_MB: Final = 128


def _schema() -> Any:

    return fields.Schema(
        id=fields.ID(),
        account=fields.ID(),
        user=fields.ID(),
        screen_name=fields.ID(),
        lang=fields.ID(),
        hashtags=fields.KEYWORD(),
        has=fields.KEYWORD(),
        body=fields.TEXT(analyzer=SpaceSeparatedTokenizer(), phrase=True),
        rank=fields.COLUMN(columns.NumericColumn("q")),
        lat=fields.COLUMN(columns.NumericColumn("i", default=_NOWHERE)),
        lon=fields.COLUMN(columns.NumericColumn("i", default=_NOWHERE)),
        tags=fields.COLUMN(columns.VarBytesColumn()),
        stored=fields.STORED(),
    )


class _DurableStorage(FileStorage):  # type: ignore[misc]
    """Files that are on the disk before a table of contents names them."""

    def __init__(self, path: str, *, readonly: bool) -> None:
        super().__init__(path, readonly=readonly)
        self._made: set[str] = set()

    def create_file(self, name: str, *arguments: Any, **more: Any) -> Any:
        self._made.add(name)
        return super().create_file(name, *arguments, **more)

    def rename_file(self, oldname: str, newname: str, safe: bool = False) -> None:
        for name in self._made:
            _sync(os.path.join(self.folder, name))
        self._made.clear()
        super().rename_file(oldname, newname, safe)
        sync_directory(self.folder)


def _sync(path: str) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # merged into another one, and removed
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class WhooshReader:
    """The index in a folder, open for reading. Raises TornError when it cannot be read, whatever Whoosh raises."""

    def __init__(self, folder: Path, *, readonly: bool = True) -> None:
        self.folder = folder
        self._storage = _DurableStorage(str(folder), readonly=readonly)
        self._searcher: Any = None
        self._generation = -1
        try:
            self._index = FileIndex(self._storage, schema=_schema())
            self._fresh()
        except Exception as error:
            raise TornError(f"the index {folder} cannot be opened: {error or type(error).__name__}") from error

    def mark(self) -> str | None:
        """The mark of the last commit."""
        with self._in_words():
            for stored in self._stored("has", "mark"):
                return str(stored)
            return None

    def post(self, identifier: str) -> Document | None:
        """The post with this id."""
        with self._in_words():
            for stored in self._stored("id", identifier):
                return Document.unpacked(stored)
            return None

    def count(self) -> int:
        """The number of posts."""
        with self._in_words():
            return sum(1 for _ in self._fresh().docs_for_query(query.Term("has", "post")))

    def ids_of(self, account: str) -> set[str]:
        """The ids of the posts in an account's timeline."""
        with self._in_words():
            return {Document.unpacked(stored).id for stored in self._stored("account", account)}

    def accounts(self) -> set[str]:
        """The accounts of all posts, and of removed ones until their segment is merged."""
        with self._in_words():
            return set(self._fresh().reader().field_terms("account"))

    def search(self, asked: Query) -> SearchAnswer:
        """The posts that match."""
        with self._in_words():
            return self._search(asked)

    def close(self) -> None:
        """Close the files."""
        if self._searcher is not None:
            self._searcher.close()
            self._searcher = None

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            why = str(error) or type(error).__name__
            raise TornError(f"the index {self.folder} cannot be read: {why}") from error

    def _search(self, asked: Query) -> SearchAnswer:
        searcher = self._fresh()
        ranges = [clause for clause in asked.clauses if isinstance(clause, Between)]
        wanted = _translated(asked)
        found: list[tuple[int, int]] = []
        times: Counter[int] = Counter()
        tags: Counter[bytes] = Counter()
        for leaf, offset in searcher.leaf_searchers():
            reader = leaf.reader()
            if not reader.has_column("rank"):
                continue
            rank = reader.column_reader("rank")
            tag = reader.column_reader("tags") if asked.tags and reader.has_column("tags") else None
            values = {"lat": _column(reader, "lat"), "lon": _column(reader, "lon")}
            for number in wanted.docs(leaf):
                order = rank[number]
                if ranges:
                    created = (order >> 32) + 2**31
                    if not all(
                        one.holds(created if one.field == "created" else _at(values[one.field], number))
                        for one in ranges
                    ):
                        continue
                found.append((order, offset + number))
                if tag is not None and (names := tag[number]):
                    tags.update(names.split(_TAG_END))
        if asked.unit:
            step = step_s(asked.unit)
            times.update(second - second % step for second in ((order >> 32) + 2**31 for order, _ in found))
        choose = heapq.nsmallest if asked.oldest_first else heapq.nlargest
        page = choose(asked.offset + asked.limit, found)[asked.offset :] if asked.limit else []
        return SearchAnswer(
            total=len(found),
            hits=tuple(Document.unpacked(searcher.stored_fields(number)["stored"]) for _, number in page),
            histogram=over_time(asked.unit, times.items()) if asked.unit else (),
            hashtags=most_frequent(((name.decode(), posts) for name, posts in tags.items()), asked.tags),
        )

    def _stored(self, field: str, value: str) -> Iterator[Any]:
        searcher = self._fresh()
        for number in searcher.docs_for_query(query.Term(field, value)):
            yield searcher.stored_fields(number)["stored"]

    def _fresh(self) -> Any:
        """A searcher of the newest generation."""
        generation = self._index.latest_generation()
        if self._searcher is None or generation != self._generation:
            self.close()
            self._searcher = Searcher(self._index.reader())
            self._generation = generation
        return self._searcher


class WhooshWriter(WhooshReader):
    """The index in a folder, open for writing. The caller holds the lock of the `LocalStore`."""

    def __init__(self, folder: Path) -> None:
        self._checksums = Checksums(folder)
        self._checksums.check()
        super().__init__(folder, readonly=False)
        self._tidy()

    def _tidy(self) -> None:
        """Remove unfinished files of a killed writer; its segment files are removed by the next commit."""
        for path in self.folder.glob("_MAIN_*.toc.*"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob("MAIN.tmp/*"):
            path.unlink(missing_ok=True)

    @classmethod
    def create(cls, folder: Path) -> WhooshWriter:
        """An empty index in an empty folder."""
        FileIndex.create(_DurableStorage(str(folder), readonly=False), _schema(), "MAIN")
        return cls(folder)

    def commit(self, changes: Changes, mark: str | None) -> None:
        """Store the changes and the mark in one step. Posts that are stored already are not written again."""
        searcher = self._fresh()
        if mark is None:
            mark = self.mark()
        try:
            writer = self._index.writer(limitmb=_MEMORY_MB)
            try:
                for number in searcher.docs_for_query(query.Term("has", "mark")):
                    writer.delete_document(number)
                for identifier, document in changes.items():
                    packed = document.packed() if document else None
                    for number in searcher.docs_for_query(query.Term("id", identifier)):
                        if searcher.stored_fields(number)["stored"] == packed:
                            break
                        writer.delete_document(number)
                    else:
                        if document:
                            writer.add_document(**_fields(document), stored=packed)
                if mark is not None:
                    writer.add_document(has=["mark"], stored=mark)
            except BaseException:
                writer.cancel()
                raise
            writer.commit(mergetype=_joined)
            self._checksums.renew((name for name in self._storage.list() if name.endswith((".seg", ".toc"))), mark)
        except OSError as error:
            raise IndexingError(f"the index {self.folder} cannot be written: {error.strerror or error}") from error


def _fields(document: Document) -> dict[str, Any]:
    said: dict[str, Any] = {
        "id": [document.id],
        "account": [document.account],
        "user": [document.user_id],
        "screen_name": [name] if (name := keyword(document.screen_name)) else None,
        "lang": [document.lang] if document.lang else None,
        "hashtags": list(document.hashtags) or None,
        "has": ["post"],
        "body": document.words or None,
        "rank": document.rank,
    }
    if document.hashtags:
        said["tags"] = _TAG_END.join(tag.encode() for tag in document.hashtags)
    if document.lat is not None and document.lon is not None:
        said |= {"has": ["post", "location"], "lat": micro_degrees(document.lat), "lon": micro_degrees(document.lon)}
    return said


def _translated(asked: Query) -> Any:
    parts = [query.Term("has", "post")]
    for clause in asked.clauses:
        if isinstance(clause, Phrase) and len(clause.words) > 1:
            parts.append(query.Phrase("body", list(clause.words)))
        elif isinstance(clause, Phrase):
            parts.append(query.Term("body", clause.words[0]))
        elif isinstance(clause, Term):
            parts.append(query.Term(clause.field, clause.value))
    return query.And(parts[1:] or parts)


def _column(reader: Any, name: str) -> Any:
    return reader.column_reader(name) if reader.has_column(name) else None


def _at(column: Any, number: int) -> int:
    return _NOWHERE if column is None else int(column[number])


def _joined(writer: Any, segments: list[Any]) -> list[Any]:
    """Merges segments of about one size as soon as there are `_FANOUT` of it; returns those that stay unchanged."""
    tiers: dict[int, list[Any]] = {}
    kept = []
    for segment in segments:
        posts = segment.doc_count()
        if posts >= _LARGE:
            kept.append(segment)
        elif posts:
            tiers.setdefault((posts.bit_length() + 2) // 3, []).append(segment)
    for _, tier in sorted(tiers.items()):
        if len(tier) < _FANOUT:
            kept += tier
            continue
        for segment in tier:
            reader = SegmentReader(writer.storage, writer.schema, segment)
            writer.add_reader(reader)
            reader.close()
    return [segment for segment in segments if segment in kept]
