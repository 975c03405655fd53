"""The index on a search server: Elasticsearch from 7 on, or OpenSearch.

A post is a document under its own id, so that sending it again changes nothing. The mark is a document too, written
after the server has acknowledged all posts before it: after a kill between the two, the posts are sent again. The mark
is replaced only if it is still the one that this writer wrote, so that one of two writers detects the other.

Words are sent as they are to be found, with blanks between them; the server's own analysis is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import orjson

from protocol.errors import MalformedError
from services.indexer.engines.elastic_http import SearchServer, Waiting
from services.indexer.index import Changes, IndexingError, SearchAnswer, most_frequent, over_time, step_s
from services.indexer.posts import Document, shown_time
from services.indexer.query import Clause, Phrase, Query, Term, micro_degrees
from services.indexer.words import keyword

MAX_ACTIONS: Final = 2_000
MAX_BULK_BYTES: Final = 5 << 20
"""Of one bulk request."""

_PAGE: Final = 5_000
_MAX_ID_BYTES: Final = 512
"""The server's limit; longer ids of posts are replaced by their digest there."""

_MARK: Final = "the mark"
"""The id of the mark: no id of a post has a blank."""

MAPPING: Final[dict[str, Any]] = {
    "dynamic": False,
    "properties": {
        **{name: {"type": "keyword"} for name in ("id", "account", "user", "screen_name", "lang", "hashtags", "has")},
        "body": {"type": "text", "analyzer": "whitespace", "norms": False},
        "rank": {"type": "long"},
        "created": {"type": "long"},
        "created_at": {"type": "date", "format": "yyyy/MM/dd HH:mm:ss"},
        "lat": {"type": "integer"},
        "lon": {"type": "integer"},
        "location": {"type": "geo_point"},
    },
}


class ElasticReader:
    """An index of a server, by its name or an alias, open for reading."""

    def __init__(self, server: SearchServer, name: str) -> None:
        self._server = server
        self.name = name

    def mark(self) -> str | None:
        """The mark of the last commit."""
        with self._understood():
            found = self._marked()
            return None if found is None else str(found["_source"]["mark"])

    def post(self, identifier: str) -> Document | None:
        """The post with this id."""
        return next(iter(self.search(Query((Term("id", identifier),), limit=1)).hits), None)

    def count(self) -> int:
        """The number of posts."""
        return self.search(Query(limit=0)).total

    def search(self, asked: Query) -> SearchAnswer:
        """The posts that match."""
        wanted: list[Any] = [{"term": {"has": "post"}}, *(_clause(clause) for clause in asked.clauses)]
        body: dict[str, Any] = {
            "query": {"bool": {"filter": wanted}},
            "sort": [{"rank": "asc" if asked.oldest_first else "desc"}],
            "from": asked.offset,
            "size": asked.limit,
            "track_total_hits": True,
            "_source": {"excludes": ["body"]},
            "aggs": {},
        }
        if asked.unit:
            body["aggs"]["times"] = {
                "histogram": {"field": "created", "interval": step_s(asked.unit), "min_doc_count": 1}
            }
        if asked.tags:
            body["aggs"]["tags"] = {"terms": {"field": "hashtags", "size": asked.tags}}
        with self._understood():
            value = self._search(body)
            counts = value.get("aggregations", {})
            times = ((int(one["key"]), int(one["doc_count"])) for one in _buckets(counts, "times"))
            tags = ((str(one["key"]), int(one["doc_count"])) for one in _buckets(counts, "tags"))
            return SearchAnswer(
                total=int(value["hits"]["total"]["value"]),
                hits=tuple(_unpacked(hit["_source"]) for hit in value["hits"]["hits"]),
                histogram=over_time(asked.unit, times) if asked.unit else (),
                hashtags=most_frequent(tags, asked.tags),
            )

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        reply = self._server.ask("POST", f"/{self.name}/_search", body, good=(200, 404))
        if reply.status == 404:
            raise IndexingError(f"{self._server.shown} has no index {self.name}: start tmatic-indexer to make one")
        value: dict[str, Any] = reply.value
        if value.get("timed_out") or value.get("_shards", {}).get("failed"):
            raise IndexingError(f"{self._server.shown} could not ask all of its index {self.name}; try again")
        return value

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Report an answer that lacks required fields as an error of the server, not as a bug."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise IndexingError(
                f"{self._server.shown} answers about {self.name} in a form that is not known: {error!r:.100}"
            ) from error

    def _marked(self) -> dict[str, Any] | None:
        reply = self._server.ask("GET", f"/{self.name}/_doc/{quote(_MARK)}", good=(200, 404))
        return reply.value if reply.status == 200 else None


class ElasticWriter(ElasticReader):
    """An index of a server, open for writing by one process."""

    def __init__(self, server: SearchServer, name: str) -> None:
        super().__init__(server, name)
        with self._understood():
            found = self._marked()
            self._version = _version(found) if found else None
        self._fresh = False

    def commit(self, changes: Changes, mark: str | None) -> None:
        """Send the posts; when all are acknowledged, replace the mark."""
        with self._understood():
            for actions in _in_bulks(changes):
                self._fresh = False
                self._bulk(actions)
            if mark is not None:
                self._leave(mark)

    def ids_of(self, account: str) -> set[str]:
        """The ids of the posts in an account's timeline."""
        self.refresh()
        found: set[str] = set()
        body: dict[str, Any] = {
            "query": {"term": {"account": account}},
            "sort": [{"rank": "desc"}, {"id": "asc"}],
            "size": _PAGE,
            "_source": ["id"],
        }
        with self._understood():
            while hits := self._search(body)["hits"]["hits"]:
                found.update(str(hit["_source"]["id"]) for hit in hits)
                body["search_after"] = hits[-1]["sort"]
        return found

    def accounts(self) -> set[str]:
        """The accounts of all posts."""
        self.refresh()
        found: set[str] = set()
        pages: dict[str, Any] = {"size": _PAGE, "sources": [{"account": {"terms": {"field": "account"}}}]}
        body = {"size": 0, "query": {"term": {"has": "post"}}, "aggs": {"accounts": {"composite": pages}}}
        with self._understood():
            while buckets := (page := self._search(body)["aggregations"]["accounts"])["buckets"]:
                found.update(str(one["key"]["account"]) for one in buckets)
                pages["after"] = page["after_key"]
        return found

    def count(self) -> int:
        """The number of posts, as of the last commit."""
        self.refresh()
        return super().count()

    def refresh(self) -> None:
        """Make committed posts searchable at once, and not within a second."""
        if not self._fresh:
            self._server.ask("POST", f"/{self.name}/_refresh")
            self._fresh = True

    def _bulk(self, actions: list[bytes]) -> None:
        waiting = Waiting()
        while actions:
            reply = self._server.ask("POST", f"/{self.name}/_bulk", lines=b"".join(actions))
            again = []
            for action, item in zip(actions, reply.value["items"], strict=True):
                (kind, outcome), *_ = item.items()
                status = int(outcome["status"])
                if status in (429, 503):
                    again.append(action)
                elif status not in (200, 201) and not (kind == "delete" and status == 404):
                    words = orjson.dumps(outcome.get("error")).decode()[:300]
                    raise IndexingError(f"{self._server.shown} does not take a post into {self.name}: {words}")
            actions = again
            if again:
                self._server.pause(waiting, None, "it takes no more posts now")

    def _leave(self, mark: str) -> None:
        condition = "?op_type=create"
        if self._version is not None:
            condition = "?if_seq_no={}&if_primary_term={}".format(*self._version)
        path = f"/{self.name}/_doc/{quote(_MARK)}{condition}"
        reply = self._server.ask("PUT", path, {"mark": mark}, good=(200, 201, 409))
        if reply.status == 409:
            # Perhaps this writer's own, whose acknowledgement was lost.
            found = self._marked()
            if found is None or found["_source"]["mark"] != mark:
                raise IndexingError(
                    f"another tmatic-indexer writes to {self.name} at {self._server.shown}, or somebody removed that "
                    "index: end one of the two, and start this one again"
                )
            self._version = _version(found)
        else:
            self._version = _version(reply.value)


def _version(value: dict[str, Any]) -> tuple[int, int]:
    return int(value["_seq_no"]), int(value["_primary_term"])


def _place(identifier: str) -> str:
    """The id of the server's document of a post."""
    raw = identifier.encode("utf-8", "surrogatepass")
    return identifier if len(raw) <= _MAX_ID_BYTES else "sha256:" + hashlib.sha256(raw).hexdigest()


def _in_bulks(changes: Changes) -> Iterator[list[bytes]]:
    actions: list[bytes] = []
    size = 0
    for identifier, document in changes.items():
        head = {"index" if document else "delete": {"_id": _place(identifier)}}
        action = orjson.dumps(head) + b"\n"
        if document:
            action += orjson.dumps(_packed(document)) + b"\n"
        if actions and (len(actions) >= MAX_ACTIONS or size + len(action) > MAX_BULK_BYTES):
            yield actions
            actions, size = [], 0
        actions.append(action)
        size += len(action)
    if actions:
        yield actions


def _packed(document: Document) -> dict[str, Any]:
    said: dict[str, Any] = {
        "id": document.id,
        "account": document.account,
        "user": document.user_id,
        "screen_name": keyword(document.screen_name),
        "name": document.screen_name,
        "text": document.text,
        "body": " ".join(document.words),
        "rank": document.rank,
        "created": document.created_at,
        "hashtags": document.hashtags,
        "lang": document.lang,
        "has": ["post"],
    }
    if document.created_at:
        said["created_at"] = shown_time(document.created_at)
    if document.lat is not None and document.lon is not None:
        said |= {"has": ["post", "location"], "location": {"lat": document.lat, "lon": document.lon}}
        said |= {"lat": micro_degrees(document.lat), "lon": micro_degrees(document.lon)}
    return said


def _unpacked(source: dict[str, Any]) -> Document:
    try:
        location = source.get("location") or {}
        return Document(
            id=source["id"],
            account=source["account"],
            text=source["text"],
            screen_name=source["name"],
            user_id=source["user"],
            created_at=source["created"],
            hashtags=tuple(source["hashtags"]),
            lang=source["lang"],
            lat=location.get("lat"),
            lon=location.get("lon"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedError(f"the search server holds a post that is none of ours: {error}") from error


def _clause(clause: Clause) -> dict[str, Any]:
    if isinstance(clause, Phrase):
        if len(clause.words) == 1:
            return {"term": {"body": clause.words[0]}}
        return {"match_phrase": {"body": {"query": " ".join(clause.words), "analyzer": "whitespace"}}}
    if isinstance(clause, Term):
        return {"term": {clause.field: clause.value}}
    if clause.least > clause.most:
        ends = [{"range": {clause.field: {"gte": clause.least}}}, {"range": {clause.field: {"lte": clause.most}}}]
        return {"bool": {"should": ends, "minimum_should_match": 1}}
    return {"range": {clause.field: {"gte": clause.least, "lte": clause.most}}}


def _buckets(counts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = counts[name]["buckets"] if name in counts else []
    return found
