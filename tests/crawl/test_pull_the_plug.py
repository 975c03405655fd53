"""Bar 2: kill -9 of anything, any number of times, and the dataset is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crawl.running import FAULTS, Emulator, audit, children, crawl, crawling, dataset, emulator, server_of
from tests.programs import program
from tests.waiting import until

pytestmark = pytest.mark.slow

WORKERS = 3
CONCURRENCY = 4
TARGETS = ["12"]


def options(tmp_path: Path, url: str, *more: str) -> list[str]:
    targets = tmp_path / "targets.txt"
    targets.write_text("\n".join(TARGETS))
    words = [str(targets), "-T", "-F", "-A", "--traversing", "BFS", "--base-url", url, "--workers", str(WORKERS)]
    return [*words, "--concurrency", str(CONCURRENCY), "--grace-s", "2", "--worker-timeout-s", "4", *more]


def refetched(service: Emulator) -> int:
    return int(service.truth("requests")["answered_again"])


def done(folder: Path, process: subprocess.Popen[bytes]) -> int:
    """A rough measure of how far a crawl is: files that it has."""
    return sum(1 for _ in folder.glob("*/*.inf"))


def kill_one(chance: random.Random, folder: Path, process: subprocess.Popen[bytes]) -> str:
    """kill -9 of the master, a worker, or the ledger's server; which it was."""
    kind = chance.choice(["master", "worker", "valkey"])

    def alive() -> int | None:
        found = [server_of(folder)] if kind == "valkey" else children(process)[kind]
        return chance.choice(found) if found else None

    victim = until(lambda: alive() or process.poll() is not None, 30)
    if process.poll() is None and victim is not True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(victim), signal.SIGKILL)
    return kind


def pull(
    tmp_path: Path, world: list[str], kills: int, seed: int, *more: str
) -> tuple[dict[str, Any], int, int, list[str]]:
    """A crawl that is disturbed so often, and one that is not; both datasets are compared."""
    with emulator(*world) as service:
        crawl(tmp_path / "calm", *options(tmp_path, service.url), within_s=1500)
        calm = refetched(service)
    chance = random.Random(seed)
    struck: list[str] = []
    with emulator(*world) as service:
        folder = tmp_path / "struck"
        files = len(dataset(tmp_path / "calm")) // 3
        with crawling(folder, *options(tmp_path, service.url), *more) as process:
            for number in range(kills):
                # Spread over the crawl: the next blow falls when it has come a random part further.
                goal = files * (number + chance.random()) / (kills + 1)
                until(lambda: done(folder, process) >= goal or process.poll() is not None, 600)  # noqa: B023
                if process.poll() is not None:
                    break
                struck.append(kill_one(chance, folder, process))
            code = process.wait(1500)
        assert code == 0, folder.with_suffix(".log").read_text()[-4000:]
        again = refetched(service) - calm
    assert len(struck) == kills, f"the crawl ended after {len(struck)} blows"
    one, other = dataset(tmp_path / "calm"), dataset(folder)
    assert one.keys() == other.keys()
    differing = [name for name in one if one[name] != other[name]]
    assert not differing, f"{len(differing)} files differ: {differing[:5]}"
    return audit(folder), again, len(one), struck


def allowed(struck: list[str]) -> int:
    """One page for each job that was running in what was killed."""
    return sum(CONCURRENCY if kind == "worker" else CONCURRENCY * WORKERS for kind in struck)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pulling_the_plug_ten_times_changes_nothing(tmp_path: Path) -> None:
    world = ["--users", "300", "--seed", "7", "--faults", FAULTS]
    result, again, files, struck = pull(tmp_path, world, 10, seed=1)
    print(f"{files} files, {again} pages fetched again after {struck}")
    assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])
    assert again <= allowed(struck)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_pulling_the_plug_fifty_times_changes_nothing(tmp_path: Path) -> None:
    world = ["--users", "2000", "--seed", "7", "--faults", FAULTS]
    result, again, files, struck = pull(tmp_path, world, 50, seed=2)
    print(f"{files} files, {again} pages fetched again after {len(struck)} blows")
    assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])
    assert again <= allowed(struck)


@contextlib.contextmanager
def slow_disk(folder: Path) -> Iterator[None]:
    """Every sync of the ledger's server takes 0.7 s longer: what it answered may not be on disk when it dies."""
    over = threading.Event()

    def watch() -> None:
        tracer: subprocess.Popen[bytes] | None = None
        traced = None
        while not over.wait(0.02):
            server = server_of(folder)
            if server is not None and server != traced:
                traced = server
                delay = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=700000"]
                tracer = subprocess.Popen(
                    ["strace", "-q", "-f", *delay, "-p", str(server)],
                    stderr=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        if tracer is not None:
            tracer.terminate()
            tracer.wait()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pulling_the_plug_with_everysec_and_a_slow_disk_loses_nothing(tmp_path: Path) -> None:
    program("strace", "strace")
    world = ["--users", "150", "--seed", "8", "--faults", FAULTS]
    with slow_disk(tmp_path / "struck"):
        result, again, files, struck = pull(tmp_path, world, 6, 3, "--durability", "everysec")
    print(f"{files} files, {again} pages fetched again after {struck}")
    assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, [])
