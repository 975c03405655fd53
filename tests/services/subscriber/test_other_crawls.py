"""A service whose dataset is of one crawl follows no master of another: it would mix the two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.dataset.files.dataset import FileDataset
from tests.checkout import ROOT
from tests.ports import free_port
from tests.storage.ledger.servers import environment, master

WITHIN_S = 60.0
COMMANDS = {
    "stats": ("services.stats.command", "collect", "-f", "crawl.gz"),
    "lookup": ("services.lookup.command", "--lookup-database", "lookup.db"),
    "indexer": ("services.indexer.command", "follow"),
    "monitor": ("services.monitor.command", "--database", "monitor.db"),
}
PORTS = {"lookup": "--lookup-port", "monitor": "--monitor-port"}


def started(name: str, folder: Path, output: Path, port: int) -> subprocess.Popen[str]:
    module, *words = COMMANDS[name]
    command = [sys.executable, "-m", module, *words, "--output", str(output), "--port", str(port)]
    command += [PORTS[name], str(free_port())] if name in PORTS else []
    folder.mkdir()
    return subprocess.Popen(
        command, cwd=folder, env={**environment(folder), "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_service_refuses_the_master_of_another_crawl_and_stores_nothing_of_it(tmp_path: Path) -> None:
    other = FileDataset(tmp_path / "other")
    other.check()
    other.set_ledger_id("main", "0123456789abcdef")
    with master(tmp_path) as leading:
        leading.until_said("took the lead")
        strangers = {name: started(name, tmp_path / name, other.output, leading.port) for name in COMMANDS}
        ours = started("lookup", tmp_path / "ours", tmp_path / "data", leading.port)
        try:
            for name, process in strangers.items():
                _, words = process.communicate(timeout=WITHIN_S)
                assert process.returncode == 1, (name, words)
                last = words.splitlines()[-1]
                assert f"{other.output} belongs to 0123456789abcdef: name the right ones by --master" in last, name
                assert "Traceback" not in words
            assert ours.poll() is None, "its dataset is of this crawl"
        finally:
            for process in (*strangers.values(), ours):
                process.kill()
                process.communicate()
