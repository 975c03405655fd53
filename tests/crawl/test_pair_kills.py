"""kill -9 of anything, any number of times, where everything is there twice: nothing is lost and nothing is doubled."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.crawl.running import Emulator, audit, children, crawl, crawling, dataset, emulator
from tests.storage.ledger.sentinel import DISTURBED, Server, Service, own_service
from tests.waiting import until

pytestmark = pytest.mark.serial

WORKERS = 4
CONCURRENCY = 4
KINDS = ("master", "master", "worker", "worker", "primary", "replica", "sentinel")
"""What is killed, by lot. Of masters and workers there are more, and they are back sooner."""
WITHIN_S = 120.0


def options(tmp_path: Path, url: str, *more: str) -> list[str]:
    targets = tmp_path / "targets.txt"
    targets.write_text("12\n")
    words = [str(targets), "-T", "-F", "-A", "--traversing", "BFS", "--base-url", url, "--workers", str(WORKERS)]
    return [*words, "--concurrency", str(CONCURRENCY), "--grace-s", "2", "--worker-timeout-s", "4", *more]


def refetched(service: Emulator) -> int:
    return int(service.truth("requests")["answered_again"])


def done(ledger: Service) -> int:
    """How many accounts are analysed, by whichever server knows of most."""
    found = [0]
    for server in ledger.servers:
        with contextlib.suppress(redis.RedisError, OSError), server.client() as client:
            found.append(int(client.hget("{tmatic:main}:totals", "A.done") or 0))
    return max(found)


def is_whole(ledger: Service) -> bool:
    """Whether every server is there, and the others have what the primary has: one of two can be spared then."""
    primary = ledger.primary
    return primary.role() == "master" and all(server.follows(primary) for server in ledger.replicas)


class Striker:
    """Kills one process at a time of a crawl with a pair. What nobody watches over, servers and sentinels, it starts
    again; of the two servers it spares the one while the other is not back yet."""

    def __init__(self, chance: random.Random, process: subprocess.Popen[bytes], ledger: Service) -> None:
        self.chance, self.process, self.ledger = chance, process, ledger
        self.struck: Counter[str] = Counter()

    def strike(self) -> None:
        kind = self.chance.choice(KINDS)
        match kind:
            case "master" | "worker":
                self._kill_child(kind)
            case "primary":
                until(lambda: is_whole(self.ledger), WITHIN_S, expecting=DISTURBED)
                self.ledger.kill_primary()
                self.ledger.until_failed_over()
                self.ledger.restart_as_replica()
            case "replica":
                until(lambda: is_whole(self.ledger), WITHIN_S, expecting=DISTURBED)
                self._restart(self.chance.choice(self.ledger.replicas))
            case "sentinel":
                watcher = self.chance.choice(self.ledger.watchers)
                watcher.stop()
                watcher.start()
        self.struck[kind] += 1

    def _kill_child(self, kind: str) -> None:
        victim = until(lambda: children(self.process)[kind] or self.process.poll() is not None, WITHIN_S)
        if isinstance(victim, list):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(victim), signal.SIGKILL)

    def _restart(self, replica: Server) -> None:
        primary = self.ledger.primary
        replica.own.kill()
        replica.start(primary.port)


def kill_many(tmp_path: Path, world: list[str], kills: int, seed: int) -> tuple[dict[str, Any], int, Counter[str]]:
    """A crawl that is disturbed so often, and one that is not; both datasets are compared."""
    with emulator(*world) as service:
        crawl(tmp_path / "calm", *options(tmp_path, service.url), within_s=3600)
        calm = refetched(service)
    one = dataset(tmp_path / "calm")
    accounts = len(one) // 3
    chance, folder = random.Random(seed), tmp_path / "struck"
    with emulator(*world) as service, own_service(tmp_path / "service") as ledger:
        told = options(tmp_path, service.url, "--ha", "--durability", "replica", "--redis", ledger.url)
        with crawling(folder, *told) as process:
            striker = Striker(chance, process, ledger)
            for number in range(kills):
                # Spread over the crawl: the next blow falls when it has come a random part further.
                goal = accounts * (number + chance.random()) / (kills + 1)
                until(lambda: done(ledger) >= goal or process.poll() is not None, 600)  # noqa: B023
                if process.poll() is not None:
                    break
                striker.strike()
            code = process.wait(3600)
        words = folder.with_suffix(".log").read_text()
        assert code == 0, words[-4000:]
        assert "Traceback" not in words, words[words.index("Traceback") :][:4000]
        again = refetched(service) - calm
        result = audit(folder, "--redis", ledger.url, "--durability", "replica")
    assert striker.struck.total() == kills, f"the crawl ended after {striker.struck}"
    other = dataset(folder)
    assert one.keys() == other.keys()
    differing = [name for name in one if one[name] != other[name]]
    assert not differing, f"{len(differing)} files differ: {differing[:5]}"
    return result, again, striker.struck


def check(result: dict[str, Any], again: int, struck: Counter[str]) -> None:
    print(f"{again} pages fetched again after {dict(struck)}")
    assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])
    # One page for each job of a worker that was killed. The death of a master or a server costs none.
    assert again <= CONCURRENCY * struck["worker"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_of_anything_change_nothing(tmp_path: Path) -> None:
    check(*kill_many(tmp_path, ["--users", "300", "--seed", "7"], 20, seed=1))


@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_soak_two_hundred_kills_of_anything_change_nothing(tmp_path: Path) -> None:
    check(*kill_many(tmp_path, ["--users", "10000", "--seed", "7"], 200, seed=2))
