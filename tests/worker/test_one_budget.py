"""Workers that a service sees behind one address keep its limit together, whatever their machines are called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.services.emulator.running import emulator
from tests.waiting import until
from tests.worker.running import WORKER, crawl, ids_of

LIMIT, WINDOWS = 40, 5
WORKERS = 4
FEW_JOBS = ("--concurrency", "2")

CLONE_NEWUTS, CLONE_NEWUSER = 0x04000000, 0x10000000
NAMED = f"""
import ctypes, os, socket, sys
namespaces = {CLONE_NEWUTS} | ({CLONE_NEWUSER} if os.geteuid() else 0)
if ctypes.CDLL(None).unshare(namespaces):
    sys.exit("a hostname of its own needs root, or a kernel that lets everybody make namespaces")
socket.sethostname(sys.argv[1])
os.execv({sys.executable!r}, sys.argv[2:])
"""
"""A program that runs another under a hostname of its own, as in a container."""


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("window_s", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_four_hostnames_on_one_address_keep_its_limit_window_after_window(window_s: int, tmp_path: Path) -> None:
    with (
        emulator("--users", "400", "--seed", "5", "--limits", f"T={LIMIT}/{window_s}s") as world,
        crawl(tmp_path, world) as running,
    ):
        running.master("-T", users=ids_of(world))
        named = [sys.executable, "-c", NAMED]
        workers = []
        for number in range(1, WORKERS + 1):
            told = ["--master", f"127.0.0.1:{running.port}", "--base-url", world.url, "--output", str(running.data)]
            command = [*named, f"host{number}", *WORKER, f"w{number}", *told, *FEW_JOBS]
            workers.append(running.start(f"w{number}", command))
        until(lambda: all("a master leads" in worker.said() for worker in workers), 30)
        names = {os.readlink(f"/proc/{worker.process.pid}/ns/uts") for worker in workers}
        assert len(names - {os.readlink("/proc/self/ns/uts")}) == WORKERS, "each has a hostname of its own"
        within_s = 60 + 2 * WINDOWS * window_s
        until(lambda: world.truth("requests")["total"] > LIMIT * WINDOWS, within_s)
        assert world.truth("requests")["beyond_budget"] == 0
        assert all(worker.process.poll() is None for worker in workers)
