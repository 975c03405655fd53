"""What many tests of the worker need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.scripted import Scripted, scripted


@pytest.fixture
def service() -> Iterator[Scripted]:
    """A service that says what it is told to."""
    with scripted() as script:
        yield script
