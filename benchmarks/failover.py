"""How long a crawl stands still when its leading master dies, hangs or leaves; beside Redis Sentinel's own failover.

usage: python benchmarks/failover.py [--quick]

The world: a pair of `tmatic-master --ha`, two workers (`noop_worker.py`: the real decisions and the real frames, with
both masters) that work on jobs of 10 ms without a pause, and one server that syncs every write; all are processes of
this machine. Whoever leads is struck at a random moment, in turn by kill -9 and by SIGSTOP, and at last by SIGTERM.
What is measured is the time from the blow to the first job of the new leader, as a worker gets it, by the one monotonic
clock of the machine; beside it the time until the new leader had the lead, by its own word. Then the one that was
struck is started again, or goes on and finds itself fenced; the next blow comes when it is warm: it stands by, hears
its peer, and knows both workers.

Sentinel: a primary, a replica and three sentinels, from the kill -9 of the primary to the first write that the new one
takes, by a client that asks the sentinels every 10 ms; with down-after-milliseconds as it comes (30,000), and with 500,
which is as short as a server that syncs every write and forks to rewrite its file can be trusted with.

The last line is one JSON object: kills, median_s, p99_s (of kill -9 and SIGSTOP together), handover_p99_s, sentinel_s,
sentinel_default_s.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dispatch import load, server
from benchmarks.needs import require
from protocol.admin_client import ask_masters
from protocol.errors import TmaticError
from tests.storage.ledger.sentinel import DOWN_AFTER_MS, PASSWORD, Service, own_service

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent)}
ROOM, JOB_MS = 8, 10
JOBS_A_BLOW = 8_000
"""Waiting jobs to begin with, for each blow: two workers end 1,600 a second at most, and a round takes some seconds."""
DEFAULT_DOWN_AFTER_MS = 30_000
MAX_WAIT_S = 30.0
PHASE_S = 0.5
"""The blow falls within so long of the pair's being warm."""
LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Blow:
    """What a blow cost: until the new leader had the lead, and until its first job came; why it took the lead."""

    led_s: float
    job_s: float
    why: str


@dataclass(slots=True)
class Told:
    """When the first job of each epoch came, by the word of the workers."""

    first: dict[int, float] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def listen(self, worker: subprocess.Popen[str]) -> None:
        """Hear what a worker tells, to its end."""
        assert worker.stdout is not None
        for row in worker.stdout:
            epoch, at = row.split()
            with self.changed:
                self.first[int(epoch)] = min(float(at), self.first.get(int(epoch), math.inf))
                self.changed.notify_all()

    def after(self, epoch: int) -> int:
        """The first higher epoch in which a job came; waits for it."""
        with self.changed:
            if not self.changed.wait_for(lambda: max(self.first, default=0) > epoch, MAX_WAIT_S):
                raise SystemExit(f"no job came within {MAX_WAIT_S:g} s of the blow, after epoch {epoch}")
            return min(one for one in self.first if one > epoch)


class Pair:
    """Two masters and their two workers, on one server."""

    def __init__(self, folder: Path, redis_port: int) -> None:
        self._folder, self.told, self.port = folder, Told(), two_ports()
        self._arguments = ["--output", str(folder / "data"), "--redis", f"redis://127.0.0.1:{redis_port}/0", "--adopt"]
        self._masters = [self._start(number) for number in (0, 1)]
        self._workers = [self._worker(name) for name in ("w0", "w1")]
        self.unasked = 0
        """Takeovers that no blow had caused."""

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "master.commands.master", "--ha", str(number), "--port", str(self.port)]
        with (self._folder / f"master{number}.log").open("ab") as words:
            return subprocess.Popen([*command, *self._arguments], env=ENVIRONMENT, stdout=words, stderr=words)

    def _worker(self, name: str) -> subprocess.Popen[str]:
        addresses = ",".join(self._address(number) for number in (0, 1))
        command = [sys.executable, str(HERE / "noop_worker.py"), name, addresses, str(ROOM), str(JOB_MS)]
        worker = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.told.listen, args=(worker,), daemon=True).start()
        return worker

    def _address(self, number: int) -> str:
        return f"127.0.0.1:{self.port + number}"

    def state(self, number: int) -> dict[str, Any]:
        """What a master says of itself, {} when it says nothing."""
        try:
            return ask_masters([self._address(number)], "status", within_s=1.0).get(self._address(number), {})
        except TmaticError:
            return {}

    def until_warm(self) -> int:
        """Wait until one leads, works, and the other could take its place at once. Returns who leads."""
        deadline = time.monotonic() + MAX_WAIT_S
        while time.monotonic() < deadline:
            states = [self.state(number) for number in (0, 1)]
            roles = [state.get("role") for state in states]
            if sorted(map(str, roles)) == ["leading", "standby"]:
                leader = roles.index("leading")
                leading, other = states[leader], states[1 - leader]
                heard = not leading["pair"]["peer_silent"] and other["pair"]["peer_leads"]
                known = other["pair"]["workers_known"] == len(leading["workers"]) == len(self._workers)
                if heard and known and leading["epoch"] in self.told.first:
                    return leader
            time.sleep(LOOK_S)
        raise SystemExit(f"the pair was not warm within {MAX_WAIT_S:g} s:\n{self._last_words()}")

    def strike(self, number: int) -> Blow:
        """Strike the leader by a signal, at a random moment; wait for the other one's first job; heal the pair."""
        leader = self.until_warm()
        time.sleep(random.uniform(0, PHASE_S))
        struck, epoch = self._masters[leader], max(self.told.first)
        struck_at = time.monotonic()
        struck.send_signal(number)
        new = self.told.after(epoch)
        now, state = time.monotonic(), self.state(1 - leader)
        took = next((one for one in state.get("takeovers", ()) if one["epoch"] == new), None)
        led_s = (now + time.monotonic()) / 2 - took["ago_s"] - struck_at if took is not None else math.nan
        if number == signal.SIGSTOP:
            struck.send_signal(signal.SIGCONT)
        else:
            struck.wait(MAX_WAIT_S)
            self._masters[leader] = self._start(leader)
        self.until_warm()
        self.unasked += max(self.told.first) - new
        return Blow(led_s, self.told.first[new] - struck_at, took["why"] if took is not None else "not told")

    def _last_words(self) -> str:
        return "".join((self._folder / f"master{number}.log").read_text()[-1500:] for number in (0, 1))

    def close(self) -> None:
        """End all of it."""
        running: list[subprocess.Popen[Any]] = [*self._workers, *self._masters]
        for process in running:
            process.kill()
            process.wait()


def two_ports() -> int:
    """The first of two ports in a row that are free."""
    while True:
        with socket.socket() as one, socket.socket() as other, contextlib.suppress(OSError, OverflowError):
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            other.bind(("127.0.0.1", port + 1))
            return port


@contextlib.contextmanager
def pair(folder: Path, blows: int) -> Iterator[Pair]:
    """A pair at work, with enough jobs for so many blows."""
    with server(folder / "server") as redis_port:
        load(redis_port, blows * JOBS_A_BLOW)
        made = Pair(folder, redis_port)
        try:
            yield made
        finally:
            made.close()


def sentinel(folder: Path, down_after_ms: int) -> float:
    """Seconds from the kill -9 of a primary to the first write that the new one takes."""
    with own_service(folder, down_after_ms=down_after_ms) as service:
        old = service.primary.port
        struck_at = time.monotonic()
        service.kill_primary()
        while not written(service, old):
            if time.monotonic() - struck_at > 4 * DEFAULT_DOWN_AFTER_MS / 1000:
                raise SystemExit("the sentinels did not fail over")
            time.sleep(0.01)
        return time.monotonic() - struck_at


def written(service: Service, old: int) -> bool:
    """Whether the first sentinel names another primary, and that takes a write."""
    port = service.watchers[0].names()
    if port == old:
        return False
    with (
        contextlib.suppress(redis.RedisError),
        redis.Redis("127.0.0.1", port, password=PASSWORD, socket_timeout=1.0) as client,
    ):
        return bool(client.set("written", "yes"))
    return False


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def row(words: str, values: list[float], more: str = "") -> str:
    shown = (statistics.median(values), percentile(values, 0.9), percentile(values, 0.99), max(values))
    return f"{words:34}{len(values):5}" + "".join(f"{value:9.3f}" for value in shown) + f"   {more}".rstrip()


def progress(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words}", end="", file=sys.stderr)


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    require(disk_mib=200 if quick else 1_000, programs={"redis-server": "redis-server"})
    takeovers, handovers, elections, defaults = (10, 5, 1, 0) if quick else (200, 100, 10, 2)
    print(
        f"world: {os.cpu_count()} cores, appendfsync always, 2 workers of {ROOM} jobs of {JOB_MS} ms, "
        f"{takeovers} takeovers and {handovers} hand-overs"
    )
    kinds = [(signal.SIGKILL, signal.SIGSTOP)[number % 2] for number in range(takeovers)] + [signal.SIGTERM] * handovers
    blows: dict[int, list[Blow]] = {signal.SIGKILL: [], signal.SIGSTOP: [], signal.SIGTERM: []}
    fastest, default = [], []
    with tempfile.TemporaryDirectory() as name:
        with pair(Path(name), len(kinds)) as struck:
            struck.until_warm()
            for number, kind in enumerate(kinds):
                blows[kind].append(struck.strike(kind))
                progress(f"{number + 1} of {len(kinds)} blows")
            unasked = struck.unasked
        for number in range(elections):
            progress(f"{number} of {elections} failovers of Sentinel")
            fastest.append(sentinel(Path(name, f"sentinel{number}"), DOWN_AFTER_MS))
        for number in range(defaults):
            progress(f"{number} of {defaults} failovers of Sentinel as it comes")
            default.append(sentinel(Path(name, f"default{number}"), DEFAULT_DOWN_AFTER_MS))
    progress("")
    both = blows[signal.SIGKILL] + blows[signal.SIGSTOP]
    figures = report(blows, both, fastest, default, unasked)
    print(json.dumps({name: value if isinstance(value, int) else round(value, 3) for name, value in figures.items()}))


def report(
    blows: dict[int, list[Blow]], both: list[Blow], fastest: list[float], default: list[float], unasked: int
) -> dict[str, float]:
    """Print the table; returns the figures."""
    print(f"\n{'seconds':34}{'of':>5}{'median':>9}{'p90':>9}{'p99':>9}{'max':>9}")
    names = {signal.SIGKILL: "kill -9", signal.SIGSTOP: "SIGSTOP", signal.SIGTERM: "hand-over by SIGTERM"}
    for kind, words in names.items():
        print(row(f"{words}: to the first job", [blow.job_s for blow in blows[kind]]))
        print(row("    of which to the lead", [blow.led_s for blow in blows[kind]]))
    jobs = [blow.job_s for blow in both]
    print(row("kill -9 and SIGSTOP", jobs))
    print(row(f"Sentinel, down-after {DOWN_AFTER_MS} ms", fastest))
    if default:
        print(row(f"Sentinel as it comes, {DEFAULT_DOWN_AFTER_MS // 1000} s", default))
    print(f"\n{unasked} takeovers that no blow had caused")
    for why in sorted({blow.why for blow in both}):
        print(f"{sum(blow.why == why for blow in both):5} took the lead since {why}")
    found: dict[str, float] = {
        "kills": len(both),
        "median_s": statistics.median(jobs),
        "p99_s": percentile(jobs, 0.99),
        "handover_p99_s": percentile([blow.job_s for blow in blows[signal.SIGTERM]], 0.99),
        "sentinel_s": statistics.median(fastest),
    }
    return found | ({"sentinel_default_s": statistics.median(default)} if default else {})


if __name__ == "__main__":
    main()
