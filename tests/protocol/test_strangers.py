"""Strangers' frames at the master's port while a crawl runs: the crawl ends exact, the master stays small and calm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from storage.dataset.files.dataset import FileDataset
from tests.checkout import ROOT
from tests.protocol.crawling import MASTER, TIMEOUT_S, Crawl, Graph, crawl, reached, write_graph
from tests.protocol.strangers import send_garbage, send_oversize, speak
from tests.services.emulator.running import emulator
from tests.waiting import until

MAX_GROWTH_BYTES = 128 << 20
MAX_LOG_BYTES = 2 << 20
START = "1000"


def status(running: Crawl) -> str:
    """What `tmatic-master status` prints."""
    asked = [*MASTER, "status", "--json", "--output", str(running.folder / "data"), "--port", str(running.port)]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


def check_dataset(running: Crawl, expected: set[str], graph: Graph) -> None:
    """Every follower list is the graph's, and the audit finds nothing lost and nothing doubled."""
    dataset = FileDataset(running.folder / "data")
    for account in expected:
        assert list(dataset.followers(account)) == graph[account], account
    asked = [*MASTER, "audit", "--json", "--output", str(running.folder / "data")]
    audit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert json.loads(audit.stdout)["clean"]


def crawl_among_strangers(folder: Path, number: int, accounts: int, depth: int, limits: str, within_s: float) -> None:
    graph = write_graph(folder / "graph.tsv", accounts, followers=9)
    expected = reached(graph, START, depth)
    service_flags = ["--graph", str(folder / "graph.tsv"), "--page-cap", "3", "--limits", limits]
    master_flags = ["--heartbeat-s", "0.2", "--worker-timeout-s", "2"]
    with emulator(*service_flags) as service, crawl(folder, START, depth, *master_flags) as running:
        workers = [running.tmatic_worker(name, service.url) for name in ("alpha", "beta")]
        until(lambda: all(f'"{name}"' in status(running) for name in ("alpha", "beta")), TIMEOUT_S)
        before = most = running.resident_bytes()
        for sent in speak(running.address, number, seed=number, names=["alpha", "beta"]):
            if sent % 5000 < 500:
                send_garbage(running.address, 50, seed=sent)
                send_oversize(running.address, 3)
            most = max(most, running.resident_bytes())
        assert running.process.poll() is None, "the crawl was over before the strangers were: " + running.log
        most = max(most, running.resident_bytes())
        print(f"{number} frames; the master grew from {before >> 20} to {most >> 20} MiB")
        assert running.ended(within_s) == 0, running.log[-4000:]
        until(lambda: all(worker.poll() is not None for worker in workers), TIMEOUT_S)
        assert [worker.returncode for worker in workers] == [0, 0]
        running.check_complete(expected, graph)
        check_dataset(running, expected, graph)
        assert service.truth("requests")["beyond_budget"] == 0
    assert most - before < MAX_GROWTH_BYTES
    log = running.log
    assert "Traceback" not in log
    assert len(log) < MAX_LOG_BYTES


@pytest.mark.serial
@pytest.mark.slow
def test_a_crawl_among_strangers_ends_exact(tmp_path: Path) -> None:
    crawl_among_strangers(tmp_path, number=5_000, accounts=60, depth=3, limits="F=15/1s", within_s=60)


@pytest.mark.soak
@pytest.mark.serial
@pytest.mark.timeout(900)
def test_soak_a_crawl_among_strangers_ends_exact(tmp_path: Path) -> None:
    crawl_among_strangers(tmp_path, number=100_000, accounts=300, depth=4, limits="F=15/1s", within_s=600)
