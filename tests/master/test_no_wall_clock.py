"""Nothing that a master decides depends on the wall clock, which jumps."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.checkout import ROOT

MASTER = ROOT / "master"
WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today"}
"""Of the modules `time` and `datetime`. A date in the name of a file, by `gmtime`, decides nothing."""
OF = {"time", "datetime", "date"}


def wall_clocks(source: str) -> list[str]:
    """Where a module reads the wall clock, or takes in the name of one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in WALL_CLOCKS:
            of = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            found += [f"line {node.lineno}: {of}.{node.attr}"] if of in OF else []
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [f"line {node.lineno}: {name.name}" for name in node.names if name.name in WALL_CLOCKS]
    return found


@pytest.mark.parametrize("path", sorted(MASTER.glob("*.py")), ids=lambda path: path.name)
def test_no_module_of_a_master_reads_the_wall_clock(path: Path) -> None:
    assert wall_clocks(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    ["time.time()", "t = time.time_ns", "datetime.now()", "datetime.datetime.now(UTC)", "from time import time"],
)
def test_a_wall_clock_would_be_found(source: str) -> None:
    assert len(wall_clocks(source)) == 1
