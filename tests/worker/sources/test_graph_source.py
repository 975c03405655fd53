"""A whole crawl from a source, and into a dataset, that the product does not know: both are additions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.checkout import ROOT
from tests.ports import free_port
from tests.protocol.crawling import TIMEOUT_S, reached, write_graph
from tests.storage.dataset.table_dataset import TableDataset
from tests.storage.dataset.test_table_dataset import START, command


def test_a_crawl_of_another_source_into_another_backend_is_complete_and_its_audit_clean(
    tmp_path: Path, valkey: str
) -> None:
    graph = write_graph(tmp_path / "graph.tsv", 40, followers=4)
    expected = reached(graph, START, 3)
    (tmp_path / "targets").write_text(f"{START}\n", encoding="utf-8")
    path, port = tmp_path / "data.db", free_port()
    place, ledger = ["--output", f"table://{path}"], ["--redis", valkey, "--durability", "everysec"]
    crawl = ["-F", "-A", "--stream", str(tmp_path / "targets"), "--traversing", "BFS", "--depth", "3"]
    master = command("master.commands.master", *crawl, *ledger, "--port", str(port), *place)
    source = [sys.executable, "-m", "tests.worker.sources.graph_source"]
    workers = [[*source, name, "--master", f"127.0.0.1:{port}", *place] for name in ("alpha", "beta")]
    environment = {**os.environ, "GRAPH_SOURCE": str(tmp_path / "graph.tsv")}
    running = [subprocess.Popen(one, cwd=ROOT, env=environment) for one in (master, *workers)]
    try:
        assert [process.wait(TIMEOUT_S) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
    dataset = TableDataset(path)
    for account in expected:
        assert list(dataset.followers(account)) == graph[account], account
    assert dataset.manifest()["counts"]["F.done"] == len(expected)
    audit = command("master.commands.master", "audit", "--json", *ledger, *place)
    found = subprocess.run(audit, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=TIMEOUT_S)
    assert (found.returncode, json.loads(found.stdout)["clean"]) == (0, True), found.stdout + found.stderr
