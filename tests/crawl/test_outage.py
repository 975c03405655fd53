"""A service that is away for a while costs a pause, and not one account."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crawl.running import audit, crawl, crawling, dataset, emulator
from tests.ports import free_port
from tests.waiting import until

WORLD = ("--users", "80", "--seed", "9")
WITHIN_S = 150


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_service_that_is_away_for_a_while_costs_no_account(tmp_path: Path) -> None:
    targets, folder, port = tmp_path / "targets.txt", tmp_path / "data", str(free_port())
    targets.write_text("12\n")
    options = [str(targets), "-T", "-F", "-A", "--traversing", "BFS", "--workers", "2"]
    options += ["--base-url", f"http://127.0.0.1:{port}", "--retry-base-s", "1"]
    with emulator(*WORLD, "--port", port):
        crawl(tmp_path / "calm", *options, within_s=WITHIN_S)
    with emulator(*WORLD, "--port", port) as service, crawling(folder, *options) as process:
        until(lambda: len(list(folder.glob("*/*.twt"))) > 3, WITHIN_S)
        service.process.kill()
        service.process.wait()
        until(lambda: "is left alone" in folder.with_suffix(".log").read_text(), WITHIN_S)
        with emulator(*WORLD, "--port", port):
            assert process.wait(WITHIN_S) == 0
    result = audit(folder)
    assert result["clean"], result
    assert result["dead"] == 0
    assert dataset(folder) == dataset(tmp_path / "calm")
