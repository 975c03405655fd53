"""A whole crawl of a service that says when to come back: it ends exact, and nobody came sooner."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.emulator.running import emulator
from tests.worker.running import crawl, ids_of
from tests.worker.test_crawls import QUICK_RETRY, check_exact, finish

ACCOUNTS = 12


@pytest.mark.slow
def test_who_puts_off_is_not_asked_sooner_in_a_whole_crawl(tmp_path: Path) -> None:
    with (
        emulator("--users", "60", "--seed", "5", "--faults", "http503=0.1,retry_after=1") as world,
        crawl(tmp_path, world) as running,
    ):
        users = ids_of(world)[:ACCOUNTS]
        master = running.master("-T", "-F", "-A", *QUICK_RETRY, users=users)
        finish(running, master, running.worker("w1"), running.worker("w2"))
        requests = world.truth("requests")
        assert requests["faulted"] > 0 and requests["too_soon"] == 0
        check_exact(world, running, users)
