"""What many tests of the worker need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.proxying import Proxying, proxying
from tests.worker.scripted import Scripted, scripted


@pytest.fixture
def service() -> Iterator[Scripted]:
    """A service that says what it is told to."""
    with scripted() as script:
        yield script


@pytest.fixture
def secure() -> Iterator[Scripted]:
    """The same with https://, vouched for by a private authority."""
    with scripted(tls=True) as script:
        yield script


@pytest.fixture
def proxy() -> Iterator[Proxying]:
    """A proxy that does what it is asked."""
    with proxying() as running:
        yield running
