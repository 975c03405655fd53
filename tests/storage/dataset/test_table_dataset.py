"""A whole crawl over a backend that the product does not know: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from storage.dataset.interface import Dataset
from tests.checkout import ROOT
from tests.ports import free_port
from tests.protocol.crawling import TIMEOUT_S, reached, write_graph
from tests.services.emulator.running import emulator
from tests.storage.dataset.table_dataset import TableDataset

START = "1000"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tests.storage.dataset.table_dataset", *words]


def test_a_crawl_over_another_backend_is_complete_and_its_audit_clean(tmp_path: Path, valkey: str) -> None:
    graph = write_graph(tmp_path / "graph.tsv", 40, followers=4)
    expected = reached(graph, START, 3)
    (tmp_path / "targets").write_text(f"{START}\n", encoding="utf-8")
    path, port = tmp_path / "data.db", free_port()
    place = ["--output", f"table://{path}"]
    ledger = ["--redis", valkey, "--durability", "everysec"]
    crawl = ["-F", "-A", "--stream", str(tmp_path / "targets"), "--traversing", "BFS", "--depth", "3"]
    master = command("master.commands.master", *crawl, *ledger, "--port", str(port), *place)
    with emulator("--graph", str(tmp_path / "graph.tsv"), "--page-cap", "3") as service:
        worker = command("worker.command", "alpha", "--master", f"127.0.0.1:{port}", "--base-url", service.url, *place)
        running = [subprocess.Popen(one, cwd=ROOT) for one in (master, worker)]
        try:
            assert [process.wait(TIMEOUT_S) for process in running] == [0, 0]
        finally:
            for process in running:
                process.kill()
    table = TableDataset(path)
    dataset: Dataset = table
    for account in expected:
        assert list(dataset.followers(account)) == graph[account], account
    assert table.manifest()["counts"]["F.done"] == len(expected)
    assert not list(dataset.segments())
    audit = command("master.commands.master", "audit", "--json", *ledger, *place)
    found = subprocess.run(audit, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=TIMEOUT_S)
    assert (found.returncode, json.loads(found.stdout)["clean"]) == (0, True), found.stdout + found.stderr
    assert not (ROOT / "table:").exists()
