"""A leader that is only slow keeps the lead: no takeover while every core is kept busy by others."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.admin_client import ask_masters
from tests.crawl.running import audit, crawling, emulator
from tests.ports import free_port
from tests.programs import program
from tests.waiting import until

pytestmark = [pytest.mark.serial, pytest.mark.slow]

SUITE_S, SOAK_S = 20.0, 1800.0


@contextlib.contextmanager
def every_core_busy() -> Iterator[None]:
    """As many processes that do nothing but compute as there are cores, at the same priority as ours."""
    words = [program("stress-ng", "stress-ng"), "--cpu", str(os.cpu_count()), "--quiet"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def led_for(tmp_path: Path, seconds: float, users: int) -> None:
    """A crawl by a pair under load, for so long; the lead is the one that was taken first, all the time."""
    (tmp_path / "targets.txt").write_text("12\n")
    port = free_port()
    world = ["--users", str(users), "--seed", "7", "--faults", "slow=1,slow_s=0.05"]
    with emulator(*world) as service, every_core_busy():
        words = [str(tmp_path / "targets.txt"), "-T", "-F", "-A", "--traversing", "BFS", "--base-url", service.url]
        with crawling(tmp_path / "data", *words, "--ha", "--port", str(port), "--workers", "2") as process:
            places = [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]

            def leader() -> tuple[str, int] | None:
                for place, state in ask_masters(places, "status", within_s=5.0).items():
                    if state["role"] == "leading" and state["totals"].get("T.done", 0):
                        return place, state["epoch"]
                return None

            first = until(leader, 120)
            ends_at, answers = time.monotonic() + seconds, 0
            while time.monotonic() < ends_at and process.poll() is None:
                now = leader()
                if now is not None:
                    answers += 1
                    assert now == first, f"the lead went from {first} to {now}"
            assert process.poll() is None, "the crawl was too small for this test: give it more accounts"
            assert answers > seconds / 10, "too few answers to know"
    words_of = (tmp_path / "data.log").read_text()
    assert words_of.count("took the lead") <= 2, "once, and once more by the other one when both were told to stop"
    result = audit(tmp_path / "data")
    assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])


@pytest.mark.timeout(300)
def test_a_leader_keeps_the_lead_while_every_core_is_busy(tmp_path: Path) -> None:
    led_for(tmp_path, SUITE_S, 3_000)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_soak_a_leader_keeps_the_lead_for_half_an_hour_while_every_core_is_busy(tmp_path: Path) -> None:
    led_for(tmp_path, SOAK_S, 200_000)
