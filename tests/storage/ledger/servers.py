"""A Redis of a test's own, which it may stop, starve, fill and mislead; and masters on it, as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.checkout import ROOT
from tests.ports import free_port
from tests.programs import program
from tests.waiting import until

TIMEOUT_S = 60.0


@dataclass
class OwnRedis:
    """Debian's Redis in a folder, listening on a Unix socket there."""

    folder: Path
    options: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 'redis.sock'}"

    def client(self, *, timeout_s: float = TIMEOUT_S, **more: str | None) -> redis.Redis:
        """As a master connects: nothing is sent twice by the library."""
        return redis.Redis.from_url(self.url, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0), **more)

    def start(self, *, answering: bool = True, **more: str) -> None:
        binary = program("redis-server", "redis-server")
        options = {"port": "0", "unixsocket": "redis.sock", "save": "", "appendonly": "yes", "appendfsync": "always"}
        options |= self.options | {name.replace("_", "-"): value for name, value in more.items()}
        command = [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]
        with (self.folder / "redis.log").open("ab") as words:
            # A file that may grow no more is an error to Redis then, and not its end.
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=words, stderr=words, preexec_fn=_ignore_large_files
            )
        with self.client() as client:
            if answering:
                until(client.ping, TIMEOUT_S, expecting=(redis.ConnectionError, redis.ResponseError))

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(TIMEOUT_S)
            finally:
                self.process.kill()
                self.process.wait()
            self.process = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        self.process = None


def _ignore_large_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@contextmanager
def own_redis(folder: Path, **options: str) -> Iterator[OwnRedis]:
    server = OwnRedis(folder, {name.replace("_", "-"): value for name, value in options.items()})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Master:
    """A `tmatic-master` as a process; what it says goes to a file."""

    process: subprocess.Popen[bytes]
    words: Path
    port: int

    def said(self, what: str, times: int = 1) -> bool:
        """Whether it said so, so often."""
        assert self.process.poll() is None, f"the master ended: {self.words.read_text()}"
        return self.words.read_text().count(what) >= times

    def until_said(self, what: str, times: int = 1) -> None:
        until(lambda: self.said(what, times), TIMEOUT_S)


def master_command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from master.commands.master import main; main()", *arguments]


@contextmanager
def master(folder: Path, *arguments: str) -> Iterator[Master]:
    """A master that leads a crawl of a few targets, for which no worker comes."""
    stream, words, port = folder / "targets.txt", folder / "master.log", free_port()
    stream.write_text("12\n13\n14\n")
    command = master_command("-T", "--stream", str(stream), "--output", str(folder / "data"), "--port", str(port))
    with words.open("wb") as out:
        process = subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=out, stderr=out, env=environment(folder))
    try:
        yield Master(process, words, port)
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT_S)
        finally:
            process.kill()
            process.wait()


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TMATIC_")}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
