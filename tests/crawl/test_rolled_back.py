"""A ledger that is set back to an earlier day: what is stored is not fetched again, and nothing is missing."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.crawl.running import Emulator, audit, crawl, crawling, dataset, emulator
from tests.waiting import until

pytestmark = pytest.mark.slow


def options(tmp_path: Path, url: str) -> list[str]:
    targets = tmp_path / "targets.txt"
    targets.write_text("12\n")
    words = [str(targets), "-T", "-F", "-A", "--traversing", "BFS", "--base-url", url, "--workers", "2"]
    return [*words, "--concurrency", "4", "--grace-s", "1"]


def asked(service: Emulator) -> int:
    requests = service.truth("requests")
    return int(requests["total"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", [False, True], ids=["one master", "a pair"])
def test_a_ledger_that_was_rolled_back_fetches_nothing_again(pair: bool, tmp_path: Path) -> None:
    data, old = tmp_path / "data", tmp_path / "old"
    with emulator("--users", "150", "--seed", "7", "--faults", "slow=1,slow_s=0.01") as service:
        words = [*options(tmp_path, service.url), *(["--ha"] if pair else [])]
        with crawling(data, *words) as process:
            until(lambda: sum(1 for _ in data.glob("*/*.inf")) >= 20, 60)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        shutil.copytree(data / ".tmatic" / "valkey", old)
        crawl(data, *words, within_s=120)
        whole, requests = dataset(data), asked(service)
        shutil.rmtree(data / ".tmatic" / "valkey")
        shutil.copytree(old, data / ".tmatic" / "valkey")
        crawl(data, *words, within_s=120)
        assert asked(service) == requests, "what is stored was fetched again"
    assert dataset(data) == whole
    result = audit(data)
    assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])
