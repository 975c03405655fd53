"""The index for large sets: tantivy, a search engine in Rust that is distributed as a wheel.

Each post is a tantivy document: its words with their positions, its id, names and tags as terms, its order, time and
place as columns, and all of it as JSON to show. The mark is one more document, replaced in the commit of the posts.
A commit syncs its files and then renames `meta.json` into place, which makes the commit; segments are merged in the
background, each time by another such rename.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson
import tantivy
from tantivy import FieldType, Occur, Order, Query as Asked

from services.indexer.engines.checksums import Checksums
from services.indexer.index import Changes, IndexingError, SearchAnswer, TornError, most_frequent, over_time, step_s
from services.indexer.posts import Document
from services.indexer.query import Clause, Phrase, Query, Term, micro_degrees
from services.indexer.words import keyword

_HEAP_BYTES: Final = 64 << 20
"""Memory in which the writer buffers posts."""

_MAX_TAGS: Final = 50_000
"""Different hashtags of one segment that are counted exactly; beyond, the rarest of them may be missed."""

_MAX_META_BYTES: Final = 64 << 20
_PARTS: Final = ("fast", "fieldnorm", "idx", "pos", "store", "term")
"""The files of every segment, by suffix. tantivy treats one without positions as one that never had any."""
_FACTS: Final = ("id", "account", "user", "screen_name", "lang", "hashtags", "has", "mark")


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    for name in _FACTS:
        builder.add_text_field(name, fast=name == "hashtags", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("body", tokenizer_name="whitespace", index_option="position")
    builder.add_integer_field("rank", fast=True)
    for name in ("created", "lat", "lon"):
        builder.add_integer_field(name, fast=True, indexed=True)
    builder.add_bytes_field("stored", stored=True)
    return builder.build()


class TantivyReader:
    """The index in a folder, open for reading. Raises TornError when it cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._schema = _schema()
        try:
            if not tantivy.Index.exists(str(folder)):
                raise TornError(f"there is no index of tantivy in {folder}")
            self._index = tantivy.Index(self._schema, str(folder))
            self._index.config_reader("manual")
            self._fresh()
        except (ValueError, OSError) as error:
            raise TornError(f"the index {folder} cannot be opened: {error}") from error

    def mark(self) -> str | None:
        """The mark of the last commit."""
        for stored in self._stored("mark", "mark", 1):
            return stored.decode()
        return None

    def post(self, identifier: str) -> Document | None:
        """The post with this id."""
        for stored in self._stored("id", identifier, 1):
            return Document.unpacked(stored)
        return None

    def count(self) -> int:
        """The number of posts."""
        return self._total(self._fresh(), self._term("has", "post"))

    def ids_of(self, account: str) -> set[str]:
        """The ids of the posts in an account's timeline."""
        most = max(1, self._total(self._fresh(), self._term("account", account)))
        return {Document.unpacked(stored).id for stored in self._stored("account", account, most)}

    def accounts(self) -> set[str]:
        """The accounts of all posts."""
        return {name for name, _ in self._fresh().terms_with_prefix("account", "", self._term("has", "post"))}

    def search(self, asked: Query) -> SearchAnswer:
        """The posts that match."""
        try:
            return self._search(asked)
        except (ValueError, OSError) as error:
            raise TornError(f"the index {self.folder} cannot be read: {error}") from error

    def close(self) -> None:
        """Nothing to close: the library closes its files by itself."""

    def _search(self, asked: Query) -> SearchAnswer:
        searcher = self._fresh()
        wanted = Asked.boolean_query(
            [(Occur.Must, self._term("has", "post")), *((Occur.Must, self._clause(one)) for one in asked.clauses)]
        )
        counts = self._counts(searcher, wanted, asked)
        order = Order.Asc if asked.oldest_first else Order.Desc
        found: Any = searcher.search(
            wanted, limit=max(1, asked.limit), offset=asked.offset, order_by_field="rank", order=order
        )
        places = [place for _, place in found.hits][: asked.limit]
        hits = tuple(Document.unpacked(bytes(searcher.doc(place)["stored"][0])) for place in places)
        times = ((int(one["key"]), int(one["doc_count"])) for one in _buckets(counts, "times"))
        tags = ((str(one["key"]), int(one["doc_count"])) for one in _buckets(counts, "tags"))
        return SearchAnswer(
            total=int(found.count),
            hits=hits,
            histogram=over_time(asked.unit, times) if asked.unit else (),
            hashtags=most_frequent(tags, asked.tags),
        )

    @staticmethod
    def _counts(searcher: tantivy.Searcher, wanted: Asked, asked: Query) -> dict[str, Any]:
        wishes: dict[str, Any] = {}
        if asked.unit:
            wishes["times"] = {"histogram": {"field": "created", "interval": step_s(asked.unit), "min_doc_count": 1}}
        if asked.tags:
            wishes["tags"] = {"terms": {"field": "hashtags", "size": _MAX_TAGS, "segment_size": _MAX_TAGS}}
        return searcher.aggregate(wanted, wishes) if wishes else {}

    def _clause(self, clause: Clause) -> Asked:
        if isinstance(clause, Phrase):
            if len(clause.words) == 1:
                return self._term("body", clause.words[0])
            return Asked.phrase_query(self._schema, "body", list(clause.words))
        if isinstance(clause, Term):
            return self._term(clause.field, clause.value)
        if clause.least > clause.most:
            ends = (self._between(clause.field, clause.least, None), self._between(clause.field, None, clause.most))
            return Asked.boolean_query([(Occur.Should, end) for end in ends])
        return self._between(clause.field, clause.least, clause.most)

    def _between(self, field: str, least: int | None, most: int | None) -> Asked:
        return Asked.range_query(self._schema, field, FieldType.Integer, least, most)

    def _term(self, field: str, value: str) -> Asked:
        return Asked.term_query(self._schema, field, value)

    @staticmethod
    def _total(searcher: tantivy.Searcher, wanted: Asked) -> int:
        found: Any = searcher.search(wanted, limit=1)
        return int(found.count)

    def _stored(self, field: str, value: str, most: int) -> list[bytes]:
        searcher = self._fresh()
        found = searcher.search(self._term(field, value), limit=most, count=False)
        return [bytes(searcher.doc(place)["stored"][0]) for _, place in found.hits]

    def _fresh(self) -> tantivy.Searcher:
        self._index.reload()
        return self._index.searcher()


class TantivyWriter(TantivyReader):
    """The index in a folder, open for writing. The caller holds the lock of the `LocalStore`."""

    def __init__(self, folder: Path) -> None:
        self._checksums = Checksums(folder)
        self._checksums.check()
        super().__init__(folder)
        for missing in (f"{segment}.{part}" for segment in self._segments() for part in _PARTS):
            if not (folder / missing).exists():
                raise TornError(f"the index {folder} lacks {missing}")
        try:
            self._writer = self._index.writer(_HEAP_BYTES, 1)
        except ValueError as error:
            raise IndexingError(f"the index {folder} cannot be written: {error}") from error

    @classmethod
    def create(cls, folder: Path) -> TantivyWriter:
        """An empty index in an empty folder."""
        tantivy.Index(_schema(), str(folder))
        return cls(folder)

    def commit(self, changes: Changes, mark: str | None) -> None:
        """Store the changes and the mark in one step."""
        if mark is None:
            mark = self.mark()
        try:
            try:
                for identifier, document in changes.items():
                    self._writer.delete_documents_by_term("id", identifier)
                    if document:
                        self._writer.add_document(_entry(document))
                self._writer.delete_documents_by_term("mark", "mark")
                if mark is not None:
                    entry = tantivy.Document()
                    entry.add_text("mark", "mark")
                    entry.add_bytes("stored", mark.encode())
                    self._writer.add_document(entry)
                self._writer.commit()
            except BaseException:
                self._writer.rollback()
                raise
            self._checksums.renew(self._committed(), mark)
        except (ValueError, OSError) as error:
            raise IndexingError(f"the index {self.folder} cannot be written: {error}") from error

    def close(self) -> None:
        """Wait for merges of segments to end, and close the index."""
        self._writer.wait_merging_threads()

    def _segments(self) -> set[str]:
        """The segments that the table of contents names."""
        with (self.folder / "meta.json").open("rb") as file:
            meta = orjson.loads(file.read(_MAX_META_BYTES))
        return {segment["segment_id"].replace("-", "") for segment in meta["segments"]}

    def _committed(self) -> list[str]:
        """The files of these segments: any others are still being written, or being removed."""
        segments = self._segments()
        return [path.name for path in self.folder.iterdir() if path.name.partition(".")[0] in segments]


def _entry(document: Document) -> tantivy.Document:
    entry = tantivy.Document()
    name = keyword(document.screen_name)
    located = document.lat is not None and document.lon is not None
    for field, values in (
        ("id", (document.id,)),
        ("account", (document.account,)),
        ("user", (document.user_id,)),
        ("screen_name", (name,) if name else ()),
        ("lang", (document.lang,) if document.lang else ()),
        ("hashtags", document.hashtags),
        ("has", ("post", "location") if located else ("post",)),
        ("body", (" ".join(document.words),)),
    ):
        for value in values:
            entry.add_text(field, value)
    entry.add_integer("rank", document.rank)
    entry.add_integer("created", document.created_at)
    if document.lat is not None and document.lon is not None:
        entry.add_integer("lat", micro_degrees(document.lat))
        entry.add_integer("lon", micro_degrees(document.lon))
    entry.add_bytes("stored", document.packed())
    return entry


def _buckets(counts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = counts[name]["buckets"] if name in counts else []
    return found
