"""What the indexer's tests share: a real OpenSearch, started once, and indexes that hold nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.indexer import opensearch
from tests.services.indexer.opensearch import OpenSearch


@pytest.fixture(scope="session")
def opensearch_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearch]:
    server = OpenSearch(opensearch.java(), opensearch.files(), tmp_path_factory.mktemp("opensearch"))
    server.lay_out()
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def search_server(opensearch_process: OpenSearch) -> OpenSearch:
    """A search server that holds nothing of ours. One that an earlier test killed is there again."""
    if opensearch_process.process is None:
        opensearch_process.start()
    opensearch_process.empty()
    return opensearch_process
