"""What a stuck subscriber costs: dispatch beside one that was stopped, beside one that is well, and beside none.

usage: python benchmarks/stuck.py [--quick | --long]

The world is that of `dispatch.py`: no-op jobs through the full commit, a server that syncs every write, one master and
two workers; each job's end is an event. The subscriber is the real one, known to the master by its name, and keeps
what it counts in memory. Stopped (SIGSTOP) before the first job is handed out it hears nothing of a whole run, at the
full rate of events; then it goes on, and the time until it is known to have all of them behind it is taken. The three
kinds take turns, ten times; the medians of what they are to each other within a round count.

--long is one run of five minutes with the subscriber stopped: what the master's memory does meanwhile. By then the log
is past its cap, so the subscriber is told that what it missed is gone, and would make all anew from the dataset.

The last line is one JSON object: share_of_none, share_of_well, memory_mib, caught_up_per_s, how.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dispatch import HERE, PREFIX, ROOM, free_port, load, server
from benchmarks.needs import require
from protocol.admin_client import ask_masters
from protocol.errors import LedgerError
from protocol.settings.settings import Settings
from services.subscriber.consumer import Event, Position
from services.subscriber.subscriber import Subscriber

NONE, WELL, STUCK = "none", "well", "stuck"
LONG_JOBS: Final = 9_000_000
LONG_S: Final = 300.0
WITHIN_S: Final = 300.0
LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Run:
    """Jobs a second; bytes that the master grew by; events a second of a subscriber that came back, and whether it read
    them (`read`) or was told that they are gone (`gone`)."""

    rate: float
    memory: int
    caught_up: float
    how: str


class Counting:
    """A consumer that counts ends of jobs."""

    name = "counting"
    topics = ("job.",)

    def __init__(self) -> None:
        self.at: Position | None = None

    def position(self) -> Position | None:
        return self.at

    def apply(self, events: Sequence[Event], position: Position) -> None:
        self.at = position

    def resynchronise(self, position: Position) -> None:
        print("gone", flush=True)
        self.at = position

    def hear(self, topic: str, body: Any) -> None:
        """Nothing."""


def listen(port: int) -> None:
    """The subscriber's process."""
    Subscriber(Settings(port=port), Counting()).run(threading.Event())


def memory(pid: int) -> int:
    """Bytes that a process holds of its own."""
    rows = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("RssAnon")) * 1024


def reader(address: str) -> tuple[int, int]:
    """How far the subscriber is known to be, -1 before it is known; and the log."""
    with contextlib.suppress(LedgerError):  # it does not lead yet
        for said in ask_masters([address], "status").values():
            if said.get("role") == "leading" and "log" in said:
                found = [one["sequence"] for one in said["consumers"]]
                return (found[0] if found else -1), said["log"]["head"]
    return -1, 0


def wait_until_known(address: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while reader(address)[0] < 0:
        if time.monotonic() > deadline:
            raise SystemExit("the subscriber did not come")
        time.sleep(LOOK_S)


def run(port: int, folder: Path, jobs: int, kind: str, most_s: float = WITHIN_S) -> Run:
    """One run of so many jobs, or so many seconds if that is less."""
    load(port, jobs)
    folder.mkdir()
    where = free_port()
    address = f"127.0.0.1:{where}"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    master = [sys.executable, "-m", "master.commands.master", "--stay", "--output", str(folder), "--adopt"]
    master += ["--port", str(where), "--redis", f"redis://127.0.0.1:{port}/0", "--log-level", "warning"]
    processes = [subprocess.Popen(master, env=environment)]
    said = (folder / "said").open("w+")
    try:
        with redis.Redis(port=port) as client:
            if kind != NONE:
                listening = subprocess.Popen([sys.executable, __file__, "--listen", str(where)], stdout=said)
                processes.append(listening)
                wait_until_known(address)
                if kind == STUCK:
                    listening.send_signal(signal.SIGSTOP)
            before = memory(processes[0].pid)
            for number in range(2):
                command = [sys.executable, str(HERE / "noop_worker.py"), f"w{number}", address, str(ROOM)]
                processes.append(subprocess.Popen(command, env=environment))
            rate, grown = watched(client, processes[0].pid, jobs, most_s)
            caught_up, how = 0.0, ""
            if kind == STUCK:
                for worker in processes[-2:]:  # so that the log stands still
                    worker.kill()
                begun, at = time.monotonic(), reader(address)[0]
                listening.send_signal(signal.SIGCONT)
                caught_up = caught(address, begun, at)
                said.seek(0)
                how = said.read().strip() or "read"
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM if process is processes[0] else signal.SIGKILL)
        for process in processes:
            process.wait()
        said.close()
    return Run(rate, grown - before, caught_up, how)


def watched(client: redis.Redis, pid: int, jobs: int, most_s: float) -> tuple[float, int]:
    """Jobs a second between the first tenth and the last, and the most that the master held."""
    begun = time.monotonic()
    held, marks = 0, list[tuple[int, float]]()
    goals = [jobs // 10, jobs * 9 // 10]
    looked = 0.0
    while time.monotonic() - begun < most_s:
        now = time.monotonic()
        if now - looked >= LOOK_S:
            looked, held = now, max(held, memory(pid))
        count = int(client.hget(PREFIX + "totals", "T.done") or 0)
        if not marks and count >= min(goals[0], 20_000):
            marks = [(count, now)]
        if count >= goals[1]:
            break
        time.sleep(0.002)
    else:
        count, now = int(client.hget(PREFIX + "totals", "T.done") or 0), time.monotonic()
    return (count - marks[0][0]) / (now - marks[0][1]), held


def caught(address: str, begun: float, at: int) -> float:
    """Events a second until the subscriber has the log behind it."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        position, head = reader(address)
        if position >= head > 0:
            return (head - at) / (time.monotonic() - begun)
        time.sleep(LOOK_S)
    raise SystemExit(f"the subscriber did not catch up within {WITHIN_S:.0f} s: {position} of {head}")


def rounds(folder: Path, number: int, jobs: int, kinds: Sequence[str] = (NONE, WELL, STUCK)) -> dict[str, list[Run]]:
    """So many runs of each kind, taking turns."""
    found: dict[str, list[Run]] = {kind: [] for kind in kinds}
    with server(folder / "server") as port:
        for n in range(number):
            for kind in kinds if n % 2 else reversed(kinds):
                found[kind].append(run(port, folder / f"{kind}{n}", jobs, kind))
    return found


def summary(found: dict[str, list[Run]]) -> dict[str, Any]:
    """What the last line says."""
    rate = {kind: [one.rate for one in runs] for kind, runs in found.items()}
    beside = {
        kind: statistics.median(stuck / other for stuck, other in zip(rate[STUCK], rate[kind], strict=True))
        for kind in (NONE, WELL)
    }
    return {
        "share_of_none": round(beside[NONE], 3),
        "share_of_well": round(beside[WELL], 3),
        "memory_mib": round(max(one.memory for one in found[STUCK]) / 2**20, 1),
        "caught_up_per_s": round(statistics.median(one.caught_up for one in found[STUCK])),
        "how": sorted({one.how for one in found[STUCK]}),
    }


def main() -> None:
    words = sys.argv[1:]
    require(disk_mib=500 if "--quick" in words else 4_000)
    with tempfile.TemporaryDirectory() as name:
        if "--long" in words:
            with server(Path(name, "server")) as port:
                one = run(port, Path(name, "long"), LONG_JOBS, STUCK, LONG_S)
            print(f"stopped for five minutes: {one.rate:.0f} jobs/s, the master grew by {one.memory / 2**20:.1f} MiB")
            print(json.dumps({"memory_mib": round(one.memory / 2**20, 1), "rate": round(one.rate), "how": one.how}))
            return
        number, jobs = (2, 20_000) if "--quick" in words else (10, 100_000)
        print(f"world: {os.cpu_count()} cores, {jobs} no-op jobs a run, {number} rounds")
        found = rounds(Path(name), number, jobs)
    for kind, runs in found.items():
        median = statistics.median(one.rate for one in runs)
        print(f"{kind:6}{median:9.0f} jobs/s   {' '.join(f'{one.rate:.0f}' for one in runs)}")
    print(json.dumps(summary(found)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--listen"]:
        listen(int(sys.argv[2]))
    else:
        main()
