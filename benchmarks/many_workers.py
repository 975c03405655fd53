"""How fast one master hands out jobs to 1,000 workers, beside 2, and what a worker that is connected costs it.

usage: python benchmarks/many_workers.py [--quick] [--workers N] [--room JOBS]

The world: one server that syncs every write, one master with `--max-clients`, and one process that is all the workers
(`crowd.py`); their jobs cost nothing, and each has room for 8, as `tmatic-worker` does by default. The 2 have as much
room in all as the 1,000 have, so that commits are alike: that is the strictest comparison, and `share` is of it. Beside
it 2 with room for 256, as in `dispatch.py`, and 2 with room for 8. All take turns; the medians count. A round begins
when every worker is known and has had a job, and then lasts some seconds. CPU is that of each process in that time, in
cores: the crowd must have some left, else it is what is measured.

Memory is what the master holds at the end of a round, beyond a round with 2, by worker: its own and libzmq's, not the
kernel's buffers.

The last line is one JSON object: workers, jobs_per_s, jobs_per_s_with_2, share, bytes_per_worker, and the rates with 2
by the room that each has.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dispatch import PREFIX, free_port, load, server
from benchmarks.needs import require
from protocol.admin_client import ask_masters
from protocol.errors import LedgerError

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent)}
FEW = 2
ROOM = 8
ROOM_OF_DISPATCH = 256
JOBS_A_SECOND = 45_000
"""More than a master hands out: so many are loaded for each second of a round."""
BEFORE_S = 10.0
"""For so many seconds of jobs more: what is handed out before a round begins."""
TICKS = os.sysconf("SC_CLK_TCK")
MAX_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Round:
    """Jobs a second; cores that each process took; the master's bytes; the fewest and the most jobs of a worker."""

    rate: float
    cores: dict[str, float]
    memory: int
    fewest: int
    most: int


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def memory(pid: int) -> int:
    rows = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(one.split()[1]) for one in rows if one.startswith("RssAnon")) * 1024


def workers_of(address: str) -> list[dict[str, Any]]:
    """The workers as the master tells of them; none while it tells nothing."""
    with contextlib.suppress(LedgerError):
        state = ask_masters([address], "status").get(address, {})
        return list(state.get("workers", ()))
    return []


def a_round(redis_port: int, folder: Path, workers: int, room: int, seconds: float) -> Round:
    """Load, and measure for so many seconds."""
    load(redis_port, int(JOBS_A_SECOND * (seconds + BEFORE_S)))
    address = f"127.0.0.1:{free_port()}"
    master = [sys.executable, "-m", "master.commands.master", "--output", str(folder), "--adopt"]
    master += ["--log-level", "warning", "--port", address.rpartition(":")[2], "--max-clients", str(workers)]
    master += ["--redis", f"redis://127.0.0.1:{redis_port}/0"]
    crowd = [sys.executable, str(HERE / "crowd.py"), str(workers), str(room), address]
    with redis.Redis(port=redis_port) as client:
        server_pid = int(client.info("server")["process_id"])
        processes = [subprocess.Popen(master, env=ENVIRONMENT)]
        try:
            until(lambda: ask_masters([address], "status"), "the master does not answer")
            processes.append(subprocess.Popen(crowd, env=ENVIRONMENT))
            pids = {"master": processes[0].pid, "server": server_pid, "crowd": processes[1].pid}
            until(lambda: busy(address) == workers, f"not all of {workers} workers have had a job")
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            first, first_at = done(client), time.monotonic()
            time.sleep(seconds)
            last, last_at = done(client), time.monotonic()
            took = last_at - first_at
            cores = {name: (cpu_s(pid) - before[name]) / took for name, pid in pids.items()}
            held, completed = memory(pids["master"]), [one["completed"] for one in workers_of(address)]
            if not client.llen(PREFIX + "queue:T"):
                raise SystemExit("the jobs ran out: this machine is faster than JOBS_A_SECOND")
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()
    return Round((last - first) / took, cores, held, min(completed), max(completed))


def busy(address: str) -> int:
    """Workers that have had a job."""
    return sum(bool(one["completed"]) for one in workers_of(address))


def done(client: redis.Redis) -> int:
    return int(client.hget(PREFIX + "totals", "T.done") or 0)


def until(condition: Any, otherwise: str) -> None:
    deadline = time.monotonic() + MAX_WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{otherwise} within {MAX_WAIT_S:g} s")
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--room", type=int, default=ROOM)
    said = parser.parse_args()
    require(disk_mib=500 if said.quick else 4_000)
    rounds, seconds, many = (1 if said.quick else 7), (3.0 if said.quick else 8.0), said.workers
    print(
        f"world: {os.cpu_count()} cores, appendfsync always, no-op jobs, {many} workers of {said.room} beside {FEW}, "
        f"{rounds} rounds of {seconds:g} s"
    )
    crowd, alike = (many, said.room), (FEW, said.room * many // FEW)
    found: dict[tuple[int, int], list[Round]] = {
        of: [] for of in (crowd, alike, (FEW, ROOM_OF_DISPATCH), (FEW, said.room))
    }
    with tempfile.TemporaryDirectory() as name, server(Path(name, "server")) as port:
        for number in range(rounds):
            for workers, room in reversed(found) if number % 2 else found:
                folder = Path(name, f"{workers}.{room}.{number}")
                found[workers, room].append(a_round(port, folder, workers, room, seconds))
    rates = {of: statistics.median(one.rate for one in found[of]) for of in found}
    held = {of: statistics.median(one.memory for one in found[of]) for of in found}
    names = ("master", "server", "crowd")
    heads = "".join(f"{name:>9}" for name in names)
    print(f"\n{'workers':>8}{'room':>6}{'jobs/s':>9}{heads}   jobs of a worker   each round")
    for (workers, room), made in found.items():
        cores = "".join(f"{statistics.median(one.cores[name] for one in made):9.2f}" for name in names)
        spread = f"{min(one.fewest for one in made)} to {max(one.most for one in made)}"
        each = " ".join(f"{one.rate:.0f}" for one in made)
        print(f"{workers:8}{room:6}{rates[workers, room]:9.0f}{cores}   {spread:16}   {each}")
    share, each_bytes = rates[crowd] / rates[alike], (held[crowd] - held[alike]) / (many - FEW)
    print(f"\n{share:.2f} of the rate with {FEW}; a worker costs the master {each_bytes / 1024:.1f} KiB")
    result = {
        "workers": many,
        "jobs_per_s": round(rates[crowd]),
        "jobs_per_s_with_2": round(rates[alike]),
        "share": round(share, 3),
        "bytes_per_worker": round(each_bytes),
        "jobs_per_s_with_2_by_room": {room: round(rate) for (workers, room), rate in rates.items() if workers == FEW},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
