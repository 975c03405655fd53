"""How fast jobs are handed out: no-op jobs through the full commit, beside Dramatiq and beside the bare loop.

usage: python benchmarks/dispatch.py [--quick | --waiting] [--server PATH]

The world: one server that syncs every write (appendonly yes, appendfsync always) for all three, on this machine's
loopback; one master process and two worker processes (`noop_worker.py`: the real decisions and the real frames, no
threads, no service); every job is leased with a token, ended, counted and announced. No server is rewriting its file
when a measurement begins. The three take turns, five times;
the medians count. Then the rate with few and with very many jobs waiting, taking turns as well; --waiting measures only
that. The server is the embedded one, or the one at PATH, whose allocator may be another.

The last line is one JSON object: jobs_per_s, dramatiq_per_s, bare_per_s, rate_at_10k, rate_at_10m.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.needs import require
from master.frontier.seed_files import targets
from master.frontier.traversal import Traversal
from protocol.jobs import Operation
from storage.ledger import allocator
from storage.ledger.ledger import Ledger
from storage.ledger.server_binary import server_binary
from storage.ledger.transitions import Remember

HERE = Path(__file__).resolve().parent
ROOM = 512
FIRST = 22_013_880
PREFIX = "{tmatic:main}:"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chosen_server() -> tuple[str, dict[str, str]]:
    """The binary that --server names, else the embedded one, and the environment that it runs in."""
    words = sys.argv[1:]
    if "--server" in words:
        return words[words.index("--server") + 1], dict(os.environ)
    binary = server_binary()
    return str(binary), allocator.environment(binary)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """A server that syncs every write; its port."""
    folder.mkdir()
    port = free_port()
    binary, environment = chosen_server()
    words = [binary, "--port", str(port), "--dir", str(folder), "--save", "", "--loglevel", "warning"]
    words += ["--appendonly", "yes", "--appendfsync", "always"]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def load(port: int, jobs: int) -> None:
    """So many waiting jobs, through the real commit."""
    with redis.Redis(port=port) as client:
        client.flushall()
        ledger = Ledger(client, "main")
        lead = ledger.take("loader", ledger.observe(), witness=0, ledger_id="bench", name="loader")
        beat = lead.beat
        accounts = (str(number) for number in range(FIRST, FIRST + jobs))
        walk = Traversal((Operation.TIMELINE,))
        for number, transition in enumerate(targets(accounts, walk, "seen")):
            ledger.commit("loader", beat, [transition], [])
            beat += 1
            if sys.stderr.isatty() and number % 100 == 0:
                print(f"\r\x1b[K{number * 1000} jobs loaded", end="", file=sys.stderr)
        plan = {"operations": "T", "traversing": "default", "depth": "0", "widening": "", "edition": "0"}
        words = [Remember(name, value) for name, value in {**plan, "round": "0", "updating": ""}.items()]
        ledger.commit("loader", beat, words, [])
        ledger.release("loader", beat + 1)
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.1)  # the server is still writing its file anew, for which it takes a core


def ours(port: int, folder: Path, jobs: int) -> float:
    """Jobs a second between the first tenth and the last of `jobs`, by a master and two workers."""
    address = free_port()
    folder.mkdir(exist_ok=True)
    master = [sys.executable, "-m", "master.commands.master", "--output", str(folder), "--adopt"]
    master += ["--port", str(address), "--redis", f"redis://127.0.0.1:{port}/0", "--log-level", "warning"]
    worker = [sys.executable, str(HERE / "noop_worker.py")]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    with redis.Redis(port=port) as client:

        def done() -> int:
            return int(client.hget(PREFIX + "totals", "T.done") or 0)

        before = done()
        processes = [subprocess.Popen(master, env=environment)]
        for number in range(2):
            command = [*worker, f"w{number}", f"127.0.0.1:{address}", str(ROOM)]
            processes.append(subprocess.Popen(command, env=environment))
        try:
            first = wait_until(done, before + jobs // 10)
            last = wait_until(done, before + jobs * 9 // 10)
        finally:
            for process in processes:
                process.send_signal(signal.SIGKILL if process is not processes[0] else signal.SIGTERM)
            for process in processes:
                process.wait()
    return (last[0] - first[0]) / (last[1] - first[1])


def wait_until(done: object, wanted: int) -> tuple[int, float]:
    assert callable(done)
    deadline = time.monotonic() + 120
    while (count := done()) < wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {count} of {wanted} jobs were done after two minutes")
        time.sleep(0.001)
    return count, time.perf_counter()


def dramatiq(port: int, jobs: int) -> float:
    environment = {**os.environ, "PORT": str(port), "N": str(jobs)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    words = subprocess.run(
        [sys.executable, "bench_dramatiq.py"], cwd=HERE, env=environment, capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"process (\d+)/s", words)
    assert found, words
    return float(found[1])


def bare(port: int, jobs: int) -> float:
    command = [sys.executable, "dispatch_limit.py", str(port), str(jobs)]
    return float(subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    require(disk_mib=500 if quick else 4_000, modules=("dramatiq",))
    rounds, jobs, many = (2, 20_000, 200_000) if quick else (5, 60_000, 10_000_000)
    figures: dict[str, list[float]] = {"ours": [], "dramatiq": [], "bare": [], "few": [], "many": []}
    print(f"world: {os.cpu_count()} cores, appendfsync always, {jobs} no-op jobs, 2 workers of {ROOM}, {rounds} rounds")
    with tempfile.TemporaryDirectory() as name, server(Path(name, "one")) as port:
        for number in range(rounds if "--waiting" not in sys.argv else 0):
            load(port, jobs)
            figures["ours"].append(ours(port, Path(name, f"ours{number}"), jobs))
            figures["dramatiq"].append(dramatiq(port, jobs // 6))
            figures["bare"].append(bare(port, jobs // 3))
        with server(Path(name, "other")) as full:
            load(full, many)
            for number in range(rounds):
                load(port, 10_000)
                figures["few"].append(ours(port, Path(name, f"few{number}"), 10_000))
                figures["many"].append(ours(full, Path(name, f"many{number}"), 10_000))
    medians = {what: statistics.median(values) for what, values in figures.items() if values}
    print(f"\n{'jobs a second':28}{'median':>9}   each round")
    names = {
        "ours": "twittomatic",
        "dramatiq": "Dramatiq",
        "bare": "the bare loop",
        "few": "with 10,000 waiting",
        "many": f"with {many:,} waiting",
    }
    for what in medians:
        words = names[what]
        print(f"{words:28}{medians[what]:9.0f}   {' '.join(f'{value:.0f}' for value in figures[what])}")
    print(f"\nwith {many:,} waiting {medians['many'] / medians['few']:.2f} of the rate with 10,000")
    if "ours" in medians:
        ours_per_s = medians["ours"]
        print(f"{ours_per_s / medians['dramatiq']:.1f} times Dramatiq, {ours_per_s / medians['bare']:.2f} of bare")
    result = {
        "jobs_per_s": "ours",
        "dramatiq_per_s": "dramatiq",
        "bare_per_s": "bare",
        "rate_at_10k": "few",
        "rate_at_10m" if not quick else "rate_at_200k": "many",
    }
    print(json.dumps({name: round(medians[what]) for name, what in result.items() if what in medians}))


if __name__ == "__main__":
    main()
