"""A service that counts requests and does not answer them: none is sent beyond its limits all the same."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.crawl.running import audit, crawling, emulator
from tests.waiting import until

ACCOUNTS = 30
WORLD = ("--users", str(ACCOUNTS), "--seed", "5", "--limits", "T=12,F=6,A=6/2s", "--faults", "reset=0.06,truncate=0.06")
STILL_S = 4.0
"""Longer than the first time-out of a request, 2.35 s."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_not_answered_is_counted_and_nothing_is_sent_beyond_the_limits(tmp_path: Path) -> None:
    targets = tmp_path / "targets.txt"
    with emulator(*WORLD) as service:
        targets.write_text("".join(f"{account}\n" for account in service.truth(f"ids?count={ACCOUNTS}")["ids"]))
        with crawling(tmp_path / "data", str(targets), "-T", "-F", "-A", "--base-url", service.url) as process:
            until(lambda: service.truth("requests")["total"] >= 40, 60)
            service.process.send_signal(signal.SIGSTOP)
            time.sleep(STILL_S)
            service.process.send_signal(signal.SIGCONT)
            assert process.poll() is None, "the crawl was over before the service stood still"
            assert process.wait(500) == 0, (tmp_path / "data.log").read_text()[-3000:]
        asked = service.truth("requests")
    assert asked["faulted"] > 0
    assert asked["beyond_budget"] == 0
    assert audit(tmp_path / "data")["clean"]
