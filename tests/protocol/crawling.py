"""A small crawl as users start it: emulator, master and workers, each a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from master.frontier.plan import SEEN
from master.startup.open_crawl import resting
from protocol import messages as wire
from protocol.jobs import Operation
from protocol.settings.configuration import configured
from tests.checkout import ROOT
from tests.ports import free_port
from tests.waiting import until

SIXTY_LINES = Path(__file__).with_name("sixty_line_worker.py")
MASTER = [sys.executable, "-c", "from master.commands.master import main; main()"]
WORKER = [sys.executable, "-c", "from worker.command import main; main()"]
TIMEOUT_S = 60.0

Graph = dict[str, list[str]]
"""Followers by account, newest first."""


def write_graph(path: Path, accounts: int, followers: int) -> Graph:
    """A graph in which an account is followed by the next ones, at strides that spread; the file is oldest first."""
    graph: Graph = {}
    for n in range(accounts):
        strides = [1 + n % 3 + 7 * i for i in range(followers + n % 5)]
        graph[str(1000 + n)] = list(dict.fromkeys(str(1000 + (n + s) % accounts) for s in strides if s % accounts))
    lines = [f"{one}\t{account}\n" for account, those in graph.items() for one in reversed(those)]
    path.write_text("".join(lines), encoding="utf-8")
    return graph


def reached(graph: Graph, start: str, depth: int) -> set[str]:
    """The accounts fewer than `depth` steps from a start, counted on the graph alone."""
    known, edge = {start}, {start}
    for _ in range(depth - 1):
        edge = {one for account in edge for one in graph[account]} - known
        known |= edge
    return known


@dataclass
class Crawl:
    """A master and what was started beside it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    asked: list[str]
    """What the master was asked to do."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "master.log").read_text()

    def sixty_line_worker(self, name: str, service: str) -> subprocess.Popen[bytes]:
        """The worker that was written from the document; `service` is HOST:PORT."""
        return self._start(name, [sys.executable, str(SIXTY_LINES), name, self.address, service])

    def tmatic_worker(self, name: str, url: str) -> subprocess.Popen[bytes]:
        """The product's own worker."""
        flags = ["--master", self.address, "--base-url", url, "--output", str(self.folder / "data")]
        return self._start(name, [*WORKER, name, *flags])

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as words:
            process = subprocess.Popen(command, cwd=ROOT, stdout=words, stderr=words)
        self.workers.append(process)
        return process

    def ended(self, within_s: float = TIMEOUT_S) -> int:
        """The master's exit code."""
        until(lambda: self.process.poll() is not None, within_s)
        return int(self.process.returncode)

    def audit(self) -> subprocess.CompletedProcess[str]:
        """What the audit says of the crawl that rests, and is ready to repair."""
        asked = ["audit", "--repair", "--output", str(self.folder / "data")]
        return subprocess.run([*MASTER, *asked], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)

    def resident_bytes(self) -> int:
        """The memory of the master's process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def check_complete(self, expected: set[str], graph: Graph) -> Mapping[str, int]:
        """The ledger says that exactly these accounts were crawled, each once, with all their followers."""
        settings = configured({"output_directory": str(self.folder / "data")}, environment={})
        with resting(settings) as opened:
            totals = opened.ledger.totals()
            assert set(opened.ledger.accounts(SEEN)) == expected
            assert not list(opened.ledger.held()) and not list(opened.ledger.dead()) and not opened.ledger.retry()
            assert not [name for name in opened.ledger.queue_names() if name != "collected"]
        for operation in (Operation.FOLLOWER, Operation.ANALYSE):
            assert totals[f"{operation.value}.done"] == totals[f"{operation.value}.complete"] == len(expected), totals
        assert totals["F.records"] == sum(len(graph[account]) for account in expected), totals
        return totals


@contextmanager
def crawl(folder: Path, start: str, depth: int, *flags: str) -> Iterator[Crawl]:
    """A master that leads a crawl from one account, and ends with the test together with its workers."""
    (folder / "targets").write_text(f"{start}\n")
    port = free_port()
    asked = ["-F", "-A", "--stream", str(folder / "targets"), "--traversing", "BFS", "--depth", str(depth)]
    asked += ["--output", str(folder / "data"), "--port", str(port), *flags]
    with (folder / "master.log").open("wb") as words:
        process = subprocess.Popen([*MASTER, *asked], cwd=ROOT, stdout=words, stderr=words)
    running = Crawl(folder, port, process, asked)
    try:
        yield running
    finally:
        for worker in running.workers:
            worker.kill()
            worker.wait()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ask(socket: zmq.Socket[bytes], message: wire.Message) -> Any:
    """Say something to a master, and hear its answer."""
    socket.send_multipart(wire.encode(message))
    assert socket.poll(int(TIMEOUT_S * 1000)), "no answer"
    return wire.decode(socket.recv_multipart())
