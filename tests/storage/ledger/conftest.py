"""A ledger that holds nothing, on each of the two servers in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from storage.ledger.ledger import Ledger
from tests.storage.ledger.scribe import Scribe


@pytest.fixture(params=["valkey", "redis_server"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty server."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def ledger(client: redis.Redis) -> Ledger:
    return Ledger(client, "test")


@pytest.fixture
def scribe(ledger: Ledger) -> Scribe:
    return Scribe.taking(ledger)
