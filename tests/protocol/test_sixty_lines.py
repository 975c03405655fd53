"""A worker that was written from `docs/protocol.md` alone does a whole crawl."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.protocol.crawling import SIXTY_LINES, crawl, reached, write_graph
from tests.services.emulator.running import emulator
from tests.waiting import until

ALLOWED = {"msgpack", "zmq", "http", "json", "secrets", "sys", "time", "types", "typing"}


def test_it_has_sixty_lines_and_needs_only_zeromq_and_msgpack() -> None:
    source = SIXTY_LINES.read_text()
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith(("import ", "from ", '"""'))]
    assert len(lines) <= 60, "blank lines, imports and the docstring are not counted"
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert imported <= ALLOWED


@pytest.mark.parametrize("limits", ["none", "F=40/2s"])
@pytest.mark.slow
def test_it_does_a_whole_crawl(tmp_path: Path, limits: str) -> None:
    graph = write_graph(tmp_path / "graph.tsv", accounts=60, followers=7)
    expected = reached(graph, "1000", 3)
    assert 20 < len(expected) < 60
    flags = ["--graph", str(tmp_path / "graph.tsv"), "--page-cap", "3", "--limits", limits]
    with emulator(*flags) as service, crawl(tmp_path, "1000", 3, "--heartbeat-s", "0.2") as running:
        worker = running.sixty_line_worker("alpha", f"127.0.0.1:{service.port}")
        assert running.ended() == 0, running.log
        until(lambda: worker.poll() is not None, 5)
        assert worker.returncode == 0, (tmp_path / "alpha.log").read_text()
        totals = running.check_complete(expected, graph)
        assert totals["A.records"] == totals["F.records"]
        assert service.truth("requests")["beyond_budget"] == 0
        audited = running.audit()
        assert audited.returncode == 0, audited.stdout
        assert audited.stdout.splitlines()[-1].startswith(
            f"this crawl stores nothing: {2 * len(expected)} jobs were ended by workers that keep no dataset; --repair"
        )
        assert "Traceback" not in running.log
