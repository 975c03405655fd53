"""The commands that run until they are told to end come up in every environment, and end in order, without a master."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from master.crawl.ports import listens
from protocol.text import plain
from tests.environments.running import Ended, Process, nothing_left, start
from tests.environments.table import ROWS, Row, cases
from tests.ports import free_port
from tests.waiting import until

SERVICES = {
    "tmatic-monitor": "--database {folder}/monitor.db --monitor-port {port} --output {world}/data "
    "--index-directory {world}/index --master {master}",
    "tmatic-stats": "collect --file {folder}/stats.gz --metrics-port {port} --output {world}/data --master {master}",
    "tmatic-lookup": "--lookup-database {folder}/lookup.db --lookup-port {port} --output {world}/data "
    "--master {master}",
    "tmatic-indexer": "follow --index-directory {world}/index --output {world}/data --master {master}",
    "tmatic-events": "tail --master {master}",
    "tmatic-emulator": "--users 20 --port {port}",
    "tmatic-worker": "w1 --output {world}/data --master {master}",
}
"""How each is called. One with a port of its own is there when that listens, the others when they ask for a master."""
PRINTING = "tmatic-emulator"
"""What prints before it is told to end."""
UP_WITHIN_S = 60.0
ENDED_WITHIN_S = 30.0
TELLING = ("as it is", "locale GBK", "output full", "errors closed", "all streams closed", "64 descriptors")
"""The rows of the suite: all seven cost five seconds a row."""
TOLD_TO_END = (0, 128 + signal.SIGTERM)


@dataclass
class Service:
    """One of them, while it runs."""

    words: Sequence[str]
    port: int
    masters: socket.socket
    """Where it looks for a master: somebody listens there and hangs up."""
    process: Process
    out: IO[bytes]
    err: IO[bytes]
    asked: bool = False

    def is_up(self) -> bool:
        """Whether it is there, or over."""
        if self.process.poll() is not None:
            return True
        if f"{self.port}" in self.words:
            return listens(self.process.pid, self.port)
        with contextlib.suppress(BlockingIOError):
            self.masters.accept()[0].close()
            self.asked = True
        return self.asked

    def ended(self) -> Ended:
        """How it ended, when it was told to or before."""
        code = self.process.wait(ENDED_WITHIN_S)
        self.out.seek(0)
        self.err.seek(0)
        return Ended(tuple(map(plain, self.words)), code, self.out.read(), self.err.read().decode(errors="replace"))


@contextlib.contextmanager
def serving(row: Row, name: str, world: Path, folder: Path, locales: Path, mark: str) -> Iterator[Service]:
    """A service in a row; killed when the block is left, if it is there then."""
    with socket.create_server(("127.0.0.1", 0)) as masters, tempfile.TemporaryFile() as out:
        masters.setblocking(False)
        place, port = f"127.0.0.1:{masters.getsockname()[1]}", free_port()
        told = {"folder": folder, "world": world, "port": port, "master": place}
        words = [name, *(word.format_map(told) for word in SERVICES[name].split())]
        with tempfile.TemporaryFile() as err, start(row, words, folder, locales, mark, (out, err)) as process:
            try:
                yield Service(words, port, masters, process, out, err)
            finally:
                process.kill()


def served(row: Row, world: Path, folder: Path, locales: Path) -> None:
    """Run all services at once in a row, tell them to end once they are there, and judge what came of each."""
    shutil.copytree(world, folder / "world")
    for path in (folder / "world", *folder.glob("world/**/*")):
        path.chmod(0o777)  # also a user without a name writes there
    with nothing_left(folder) as mark, contextlib.ExitStack() as running:
        services = [
            running.enter_context(serving(row, name, folder / "world", folder, locales, mark)) for name in SERVICES
        ]
        for service in services:
            until(service.is_up, UP_WITHIN_S)
        early = {service.words[0]: code for service in services if (code := service.process.poll()) is not None}
        for service in services:
            service.masters.close()
            service.process.send_signal(signal.SIGTERM)
        ends = [service.ended() for service in services]
    assert early == ({PRINTING: row.printed} if row.printed else {}), "\n".join(map(str, ends))
    wrong = [end for end in ends if end.is_bug or end.code not in (early.get(end.words[0]), *TOLD_TO_END)]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", cases(tuple(row for row in ROWS if row.name in TELLING)))
def test_services_come_and_go_in_the_most_telling_environments(
    row: Row, world: Path, folder: Path, locales: Path
) -> None:
    served(row, world, folder, locales)


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", cases(ROWS))
def test_services_come_and_go_in_every_environment(row: Row, world: Path, folder: Path, locales: Path) -> None:
    served(row, world, folder, locales)
