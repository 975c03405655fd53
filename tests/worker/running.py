"""A crawl as users run it: a master and workers as processes of their own, on free ports."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.checkout import ROOT
from tests.services.emulator.running import Running
from tests.waiting import until

MASTER = [sys.executable, "-c", "from master.commands.master import main; main()"]
WORKER = [sys.executable, "-c", "from worker.command import main; main()"]
CRAWL_S = 60.0
START_S = 20.0


@dataclass
class Process:
    """A process with what it logs."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, within_s: float = CRAWL_S) -> int:
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s} s; it said:\n{self.said()[-4000:]}") from None

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@dataclass
class Crawl:
    """A crawl in a directory, against an emulator. `stop` everything at the end."""

    folder: Path
    url: str
    port: int = 0
    processes: list[Process] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, name: str, command: Sequence[str]) -> Process:
        log = self.folder / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as words:
            process = subprocess.Popen(command, cwd=ROOT, stdout=words, stderr=words, stdin=subprocess.DEVNULL)
        self.processes.append(Process(process, log))
        return self.processes[-1]

    def master(self, *flags: str, users: Sequence[int | str] = ()) -> Process:
        targets = self.folder / "targets.txt"
        targets.write_text("".join(f"{user}\n" for user in users))
        stream = ["--stream", str(targets)] if users else []
        told = ["--output", str(self.data), "--port", str(self.port), "--durability", "everysec", *stream, *flags]
        master = self.start("master", [*MASTER, *told])
        found = until(lambda: re.findall(r"listening address=127\.0\.0\.1:(\d+)", master.said()), START_S)
        self.port = int(found[0])
        return master

    def worker(self, name: str = "w1", *flags: str) -> Process:
        told = ["--master", f"127.0.0.1:{self.port}", "--base-url", self.url, "--output", str(self.data), *flags]
        return self.start(name, [*WORKER, name, *told])

    def stop(self) -> None:
        for one in reversed(self.processes):
            if one.process.poll() is None and "master" in one.log.name:
                one.interrupt()  # its server ends with it
            else:
                one.process.kill()
        for one in self.processes:
            try:
                one.process.wait(10)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()


@contextmanager
def crawl(folder: Path, world: Running) -> Iterator[Crawl]:
    running = Crawl(folder, world.url)
    try:
        yield running
    finally:
        running.stop()


def ids_of(world: Running, count: int = 1000) -> list[int]:
    """Accounts of the world, rising."""
    found: Any = world.truth(f"ids?start=0&count={count}")
    return list(map(int, found["ids"] if isinstance(found, dict) else found))
