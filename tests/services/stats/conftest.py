"""The carbons that the tests of tmatic-stats send to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.stats.carbons import Carbon, environment


def python_with(name: str, requirements: str) -> Path:
    """The Python of an environment. Tests that need it are skipped where it cannot be, which CI is not."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip(f"{name} 1.1.10 runs on Python 3.11 only")
    try:
        return environment(name, requirements)
    except subprocess.CalledProcessError:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{name} 1.1.10 could not be installed; is the package index reached?")


@pytest.fixture(scope="session")
def carbons_python() -> Path:
    """The Python of carbon's environment."""
    return python_with("carbon", "requirements.txt")


@pytest.fixture(scope="session")
def graphite_python() -> Path:
    """The Python of Graphite's environment."""
    return python_with("graphite", "graphite.txt")


@pytest.fixture
def new_carbon(carbons_python: Path, tmp_path: Path) -> Iterator[Callable[[str], Carbon]]:
    """Makes carbons, each with data of its own; they are killed at the end."""
    made: list[Carbon] = []

    def make(name: str) -> Carbon:
        made.append(Carbon(carbons_python, tmp_path / name))
        return made[-1]

    yield make
    for carbon in made:
        carbon.kill()
