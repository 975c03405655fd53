"""How much the emulator serves per second of its own processor time, so that it is never what limits a test.

    python benchmarks/emulator.py

One client on one connection, of which only the emulator's user and system time counts. Pages are full timelines of 200
posts; small answers are profiles and short follower lists in turn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.needs import require

ROOT = Path(__file__).resolve().parent.parent
USERS, SEED = 100_000, 1
PAGES, SMALL = 1500, 10_000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(process: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def fetch(client: HTTPConnection, path: str) -> bytes:
    """The body of a 200; anything else ends the benchmark."""
    client.request("GET", path)
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path} answered {answer.status}: {body[:200]!r}")
    return body


def measured(client: HTTPConnection, process: int, paths: Sequence[str]) -> tuple[float, float, int]:
    """Processor seconds of the emulator, seconds by the clock, and bytes, for fetching all paths in turn."""
    cpu_before, before = cpu_s(process), time.perf_counter()
    size = sum(len(fetch(client, path)) for path in paths)
    return cpu_s(process) - cpu_before, time.perf_counter() - before, size


def main() -> None:
    require(disk_mib=50)
    start = "from services.emulator.command import main; main()"
    command = [sys.executable, "-c", start, "--port", "0", "--users", str(USERS), "--seed", str(SEED)]
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as emulator:
        try:
            assert emulator.stdout is not None
            line = emulator.stdout.readline()
            ready_s = time.perf_counter() - begun
            address = urlsplit(line.split()[-1])
            client = HTTPConnection(str(address.hostname), address.port, timeout=60)
            report(client, emulator.pid, ready_s)
        finally:
            emulator.terminate()


def report(client: HTTPConnection, process: int, ready_s: float) -> None:
    ids = json.loads(fetch(client, "/_truth/ids?count=3000"))["ids"]
    profiles = []
    for start in range(0, len(ids), 100):
        some = ",".join(map(str, ids[start : start + 100]))
        profiles += json.loads(fetch(client, f"/1.1/users/lookup.json?user_id={some}"))
    shown = [profile for profile in profiles if not profile["protected"]]
    writers = [profile["id"] for profile in shown if profile["statuses_count"] >= 200]
    quiet = [profile["id"] for profile in shown if profile["followers_count"] < 100]
    pages = [f"/1.1/statuses/user_timeline.json?count=200&user_id={writers[n % len(writers)]}" for n in range(PAGES)]
    calls = ("users/show", "followers/ids")
    small = [f"/1.1/{calls[n % 2]}.json?user_id={quiet[n % len(quiet)]}" for n in range(SMALL)]
    print(f"world: {USERS} accounts from seed {SEED}, ready after {ready_s:.2f} s; {os.cpu_count()} cores")
    print(f"{'':<8}{'answers':>9}{'bytes each':>12}{'cpu s':>8}{'clock s':>9}{'per cpu s':>11}")
    figures: dict[str, float] = {}
    for name, paths in (("pages", pages), ("small", small)):
        cpu, clock, size = measured(client, process, paths)
        print(f"{name:<8}{len(paths):>9}{size // len(paths):>12}{cpu:>8.2f}{clock:>9.2f}{len(paths) / cpu:>11.0f}")
        figures[f"{name}_per_cpu_s"] = round(len(paths) / cpu, 1)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
