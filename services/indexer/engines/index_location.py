"""Where the index of a crawl is stored: the current one, one being built, and former ones. A class per kind of place.

A new index is built beside the current one and replaces it in one step, so that queries meanwhile are answered by the
old one, and a kill in between leaves the old one in place.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from protocol.logs import fields
from protocol.settings.settings import Settings
from protocol.transport.http_routes import HttpRoutes, ways_of
from services.indexer.engines.checksums import Checksums
from services.indexer.engines.elastic import MAPPING, ElasticReader, ElasticWriter
from services.indexer.engines.elastic_http import SearchServer
from services.indexer.engines.local_store import LocalStore, Lock
from services.indexer.engines.tantivy import TantivyReader, TantivyWriter
from services.indexer.engines.whoosh import WhooshReader, WhooshWriter
from services.indexer.index import IndexingError, IndexReader, IndexWriter, TornError


@dataclass(frozen=True, slots=True)
class Engine:
    """A local engine: how the index in a folder is read, written, and created."""

    read: Callable[[Path], IndexReader]
    write: Callable[[Path], IndexWriter]
    create: Callable[[Path], IndexWriter]


log = logging.getLogger(__name__)

ENGINES: Final = {
    "whoosh": Engine(WhooshReader, WhooshWriter, WhooshWriter.create),
    "tantivy": Engine(TantivyReader, TantivyWriter, TantivyWriter.create),
}
"""By their names in `index_engine`."""

_FORMAT: Final = 1
"""The version of the mapping on a server."""


class IndexLocation(Protocol):
    """A place for the index of one crawl."""

    def lock(self) -> Lock:
        """Become the only writer. Raises IndexingError when another process of this machine is."""

    def present(self) -> str | None:
        """Where the current index is, as a text for people; None before there is one."""

    def sealed_mark(self) -> str | None:
        """The mark of the current index as far as it is known without opening it."""

    def open(self) -> IndexWriter:
        """The current index, open for writing. Raises TornError when it differs from what was written."""

    def begin(self) -> IndexWriter:
        """A new, empty index beside the current one."""

    def finish(self, fresh: IndexWriter) -> IndexWriter:
        """Close an index that `begin` returned, make it the current one, and reopen it."""

    def remove(self, former: str) -> None:
        """Delete a former index."""

    def reader(self) -> IndexReader:
        """The current index, open for reading. Raises IndexingError when there is none."""

    def is_present(self, reader: IndexReader) -> bool:
        """Whether a reader reads the current index; cheap."""


class LocalLocation:
    """A folder on this machine."""

    def __init__(self, directory: Path, engine: str) -> None:
        self._local_store = LocalStore(directory, engine)
        self._engine = ENGINES[engine]
        self._begun: Path | None = None

    def lock(self) -> Lock:
        """Lock the folder against other processes."""
        return self._local_store.lock()

    def present(self) -> str | None:
        """The folder of the current index."""
        folder = self._local_store.current()
        return None if folder is None else str(folder)

    def sealed_mark(self) -> str | None:
        """The mark in the seal."""
        folder = self._local_store.current()
        return None if folder is None else Checksums(folder).mark

    def open(self) -> IndexWriter:
        """The current index, checked against its seal."""
        return self._engine.write(self._present())

    def begin(self) -> IndexWriter:
        """A new folder."""
        self._begun = self._local_store.begin()
        return self._engine.create(self._begun)

    def finish(self, fresh: IndexWriter) -> IndexWriter:
        """Point to the new folder."""
        assert self._begun is not None
        fresh.close()
        folder = self._local_store.finish(self._begun)
        self._begun = None
        return self._engine.write(folder)

    def remove(self, former: str) -> None:
        """Delete the folder of a former index."""
        self._local_store.remove(Path(former))

    def reader(self) -> IndexReader:
        """The current index."""
        return self._engine.read(self._present())

    def is_present(self, reader: IndexReader) -> bool:
        """Whether the pointer still names the reader's folder."""
        return isinstance(reader, WhooshReader | TantivyReader) and reader.folder == self._local_store.current()

    def _present(self) -> Path:
        folder = self._local_store.current()
        if folder is None:
            raise IndexingError(f"there is no index in {self._local_store.directory}: start tmatic-indexer to make one")
        if not folder.is_dir():
            raise TornError(f"the index {folder} is not there any more")
        return folder


class ElasticLocation:
    """A search server. The name of the index is an alias; behind it is one index with a number."""

    def __init__(
        self,
        url: str,
        crawl: str,
        lock_directory: Path,
        wait: Callable[[float], None] | None = None,
        ways: HttpRoutes | None = None,
    ) -> None:
        self.alias = index_name(crawl)
        self._url = url
        self._locks = lock_directory
        self._more: dict[str, Any] = {"ways": ways} if wait is None else {"ways": ways, "wait": wait}

    def lock(self) -> Lock:
        """Lock the index against other processes of this machine; one elsewhere is detected at the first commit."""
        return Lock(self._locks / self.alias)

    def present(self) -> str | None:
        """The index behind the alias."""
        server = self._server(patient=True)
        try:
            return self._behind_alias(server)
        finally:
            server.close()

    def sealed_mark(self) -> str | None:
        """None: the mark is in the index alone."""
        return None

    def open(self) -> IndexWriter:
        """The index behind the alias, if this program created it."""
        server = self._server(patient=True)
        name = self._behind_alias(server)
        if name is None:
            raise IndexingError(f"there is no index {self.alias} at {server.shown}: start tmatic-indexer to make one")
        log.info("found a search server", extra=fields(url=server.shown, version=server.version))
        mapping = server.ask("GET", f"/{name}/_mapping").value[name]["mappings"]
        if mapping.get("_meta", {}).get("twittomatic") != _FORMAT:
            raise IndexingError(
                f"the index {name} at {server.shown} was not made by this tmatic-indexer: say `tmatic-indexer rebuild`"
            )
        return ElasticWriter(server, name)

    def begin(self) -> IndexWriter:
        """A new index with the next number; an unfinished one of an earlier attempt is removed."""
        server = self._server(patient=True)
        numbers = [0]
        for name, about in server.ask("GET", f"/{self.alias}-*/_mapping").value.items():
            if match := re.fullmatch(rf"{re.escape(self.alias)}-(\d{{6}})", name):
                numbers.append(int(match[1]))
                if about["mappings"].get("_meta", {}).get("unfinished"):
                    server.ask("DELETE", f"/{name}")
        name = f"{self.alias}-{max(numbers) + 1:06d}"
        # One shard, so that hashtags are counted exactly; and no replica, since all of it can be rebuilt.
        layout = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"}
        server.ask("PUT", f"/{name}", {"settings": layout, "mappings": {**MAPPING, "_meta": _meta(unfinished=True)}})
        return ElasticWriter(server, name)

    def finish(self, fresh: IndexWriter) -> IndexWriter:
        """Move the alias, in one step of the server."""
        assert isinstance(fresh, ElasticWriter)
        fresh.close()
        server = self._server(patient=True)
        former = self._behind_alias(server)
        server.ask("PUT", f"/{fresh.name}/_mapping", {"_meta": _meta(unfinished=False)})
        actions: list[dict[str, Any]] = [{"add": {"index": fresh.name, "alias": self.alias}}]
        if former is not None:
            actions.append({"remove": {"index": former, "alias": self.alias}})
        server.ask("POST", "/_aliases", {"actions": actions})
        return ElasticWriter(server, fresh.name)

    def remove(self, former: str) -> None:
        """Delete a former index from the server."""
        server = self._server(patient=True)
        assert former != self._behind_alias(server)
        server.ask("DELETE", f"/{former}")
        server.close()

    def reader(self) -> IndexReader:
        """The index of the alias."""
        return ElasticReader(self._server(patient=False), self.alias)

    def is_present(self, reader: IndexReader) -> bool:
        """True: a reader uses the alias."""
        return True

    def _server(self, *, patient: bool) -> SearchServer:
        server = SearchServer(self._url, patient=patient, **self._more)
        server.greet()
        return server

    def _behind_alias(self, server: SearchServer) -> str | None:
        reply = server.ask("GET", f"/_alias/{self.alias}", good=(200, 404))
        names = list(reply.value) if reply.status == 200 else []
        if len(names) > 1:
            raise IndexingError(f"{self.alias} at {server.shown} stands for {len(names)} indexes: leave it one of them")
        return names[0] if names else None


def _meta(*, unfinished: bool) -> dict[str, Any]:
    return {"twittomatic": _FORMAT, "unfinished": unfinished}


def index_name(crawl: str) -> str:
    """The name of a crawl's index on a server, where names have no capitals."""
    if crawl == crawl.lower():
        return f"tmatic-{crawl}"
    return f"tmatic-{crawl.lower()}-{hashlib.sha256(crawl.encode()).hexdigest()[:8]}"


def engine_of(settings: Settings) -> str:
    """The engine that the settings name."""
    return "elasticsearch" if settings.elasticsearch_url else settings.index_engine


def home_of(settings: Settings, wait: Callable[[float], None] | None = None) -> IndexLocation:
    """The place that the settings name: the server if there is a URL, else the folder. `wait` is how a writer sleeps,
    in seconds, while the server is unavailable."""
    if settings.elasticsearch_url:
        ways = ways_of((), settings.ca_file)
        return ElasticLocation(settings.elasticsearch_url, settings.crawl, settings.index_directory, wait, ways)
    return LocalLocation(settings.index_directory, settings.index_engine)
