"""`tmatic-crawl`: a whole crawl on one machine, in one command."""

from __future__ import annotations

import contextlib
import logging
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

import click

from master.supervision import Kept, stop_all
from protocol.command import run
from protocol.configuration import settings_options
from protocol.errors import TmaticError, UsageError
from protocol.logs import fields, set_up
from protocol.settings import TABLE, Settings, names_for
from storage.files import FileDataset

log = logging.getLogger(__name__)

LOOK_S = 0.05
STOP_S = 15.0
NEVER_LED_S = 10.0
"""A master that ends in words so soon after the first start has said what the user is to mend."""
LEAVE_S = 1.0
"""How long workers have to leave by themselves when their master did; one that it never met is told to."""
EMULATOR_START_S = 60.0
OFFERED = tuple(dict.fromkeys(name for floor in ("master", "worker") for name in names_for(floor) if name != "master"))


@dataclass(slots=True)
class Asked:
    """What the command line asks for, beside the settings."""

    targets: str | None
    letters: tuple[str, ...]
    seeds: str | None
    adopt: bool
    workers: int
    emulator: str | None


@click.command()
@click.argument("targets", required=False)
@click.option("-T", "timeline", is_flag=True, help="Download timelines.")
@click.option("-F", "follower", is_flag=True, help="Download follower lists.")
@click.option("-A", "analyse", is_flag=True, help="Look the followers up, and find the next accounts among them.")
@click.option("-U", "update", is_flag=True, help="Download what is newer than what is there. Stands alone.")
@click.option("--seeds", metavar="FILE", help="Accounts that are known already, and never to be discovered.")
@click.option("--adopt", is_flag=True, help="Go on with a ledger that this dataset does not know.")
@click.option("--workers", type=click.IntRange(1, 1000), default=4, show_default=True, help="How many workers.")
@click.option("--emulator", is_flag=True, help="Crawl an emulated world instead of a service.")
@click.option("--emulator-options", metavar="TEXT", default="", help="What tmatic-emulator is told, as one text.")
@settings_options(*OFFERED)
@click.pass_context
def tmatic_crawl(
    context: click.Context,
    targets: str | None,
    timeline: bool,
    follower: bool,
    analyse: bool,
    update: bool,
    seeds: str | None,
    adopt: bool,
    workers: int,
    emulator: bool,
    emulator_options: str,
    settings: Settings,
) -> None:
    """Crawl on this machine: a ledger, a master and workers, watched and started again when they die.

    TARGETS is a file of ids, one a line. Called again with the same --output it goes on where it stopped.

    \b
    tmatic-crawl targets.txt -T -F -A --traversing BFS --depth 2 --output data --workers 4
    tmatic-crawl targets.txt -T -F -A --output rehearsal --emulator --emulator-options '--users 1000'

    Ctrl-C stops everything cleanly; a second one stops it now; neither loses anything.
    """
    set_up("tmatic-crawl", settings)
    letters = tuple(f"-{x}" for x, said in zip("TFAU", (timeline, follower, analyse, update), strict=True) if said)
    if emulator_options and not emulator:
        raise UsageError("--emulator-options is for --emulator, which was not said")
    if emulator and settings.base_url != TABLE["base_url"].default:
        raise UsageError("--emulator and --base-url exclude each other: one service at a time")
    if workers > settings.max_clients:
        raise UsageError(f"--workers {workers} are more than --max-clients {settings.max_clients}: raise the latter")
    asked = Asked(targets, letters, seeds, adopt, workers, emulator_options if emulator else None)
    context.exit(Crawl(settings, asked).run())


@dataclass(slots=True)
class Crawl:
    """One run of `tmatic-crawl`."""

    settings: Settings
    asked: Asked
    port: int = 0
    base_url: str = ""
    stopping: bool = False
    emulator_port: int = 0
    processes: list[Kept] = field(default_factory=list)

    def run(self) -> int:
        """To the end of the crawl. Returns the exit code. Raises DatasetError for a directory that will not do."""
        settings = self.settings
        FileDataset(settings.output_directory, temporary=settings.temporary_directory).check()
        self.port = _free_port(self.settings)
        self.base_url = self.settings.base_url
        with self._signals():
            emulator = [Kept("the emulator", self._emulator)] if self.asked.emulator is not None else []
            master = Kept("the master", self._master)
            workers = [Kept(f"worker {n}", lambda n=n: self._worker(n)) for n in range(1, self.asked.workers + 1)]  # type: ignore[misc]
            self.processes = [*emulator, master, *workers]
            code = 1
            try:
                if emulator:
                    self._start_emulator(emulator[0])
                code = self._watch(emulator, master, workers)
            finally:
                stop_all(workers, STOP_S)
                stop_all([master], STOP_S)
                stop_all(emulator, STOP_S)
        return code

    def _watch(self, emulator: list[Kept], master: Kept, workers: list[Kept]) -> int:
        left_at: float | None = None
        while not self.stopping:
            now = time.monotonic()
            code = master.look(now)
            if code == 0:
                master.over = True
                self._let_leave(workers)
                return 0
            if code is not None:
                never_led = code == 1 and master.deaths == 0 and now - master.started_at < NEVER_LED_S
                if code == 2 or never_led or not master.again(now, code):
                    return 2 if code == 2 else 1
            for kept in (*emulator, *workers):
                code = kept.look(now)
                if code == 0:
                    kept.over = True
                elif code is not None and (code == 2 or not kept.again(now, code)):
                    log.error(f"{kept.name} cannot be kept alive", extra=fields(code=code))
                    return 2 if code == 2 else 1
            left_at = left_at or now if all(worker.over for worker in workers) else None
            if left_at is not None and now - left_at > STOP_S:
                log.error("every worker was told to leave, and the master has not ended")
                return 1
            time.sleep(LOOK_S)
        log.info("stopping: call again with the same --output to go on")
        return 130

    def _let_leave(self, workers: list[Kept]) -> None:
        """The master said that all is done: its workers leave by themselves."""
        deadline = time.monotonic() + LEAVE_S
        for worker in workers:
            if worker.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, deadline - time.monotonic()))

    # The command lines.

    def _master(self) -> list[str]:
        words = [sys.executable, "-m", "master.command", *self.asked.letters, *_flags(self.settings, "master", "port")]
        words += ["--port", str(self.port)]
        words += ["--stream", self.asked.targets] if self.asked.targets else []
        words += ["--seeds", self.asked.seeds] if self.asked.seeds else []
        return [*words, "--adopt"] if self.asked.adopt else words

    def _worker(self, number: int) -> list[str]:
        words = [sys.executable, "-m", "worker.command", f"worker-{number:03d}"]
        words += _flags(self.settings, "worker", "port", "host", "master", "bind_ip", "base_url", "log_level")
        words += ["--master", f"{self.settings.host}:{self.port}", "--base-url", self.base_url]
        addresses = self.settings.bind_ip
        mine = addresses[number - 1 :: self.asked.workers] or addresses[(number - 1) % max(1, len(addresses)) :][:1]
        for address in mine:
            words += ["--bind-ip", address]
        quiet = self.settings.log_level == TABLE["log_level"].default
        return [*words, "--log-level", "warning" if quiet else self.settings.log_level]

    def _emulator(self) -> list[str]:
        options = shlex.split(self.asked.emulator or "")
        return [sys.executable, "-m", "services.emulator.cli", "--port", str(self.emulator_port), *options]

    def _start_emulator(self, kept: Kept) -> None:
        """Start it on a port that it keeps when it is started again, and wait until it listens."""
        self.emulator_port = _free_port(None)
        self.base_url = f"http://127.0.0.1:{self.emulator_port}"
        kept.start(time.monotonic())
        deadline = time.monotonic() + EMULATOR_START_S
        while not _listens(self.emulator_port):
            code = kept.process.poll() if kept.process is not None else 1
            if code is not None:
                raise UsageError("the emulator did not start: its own words are above")
            if time.monotonic() > deadline or self.stopping:
                raise TmaticError(f"the emulator does not listen after {EMULATOR_START_S:.0f} s")
            time.sleep(LOOK_S)

    # Signals.

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopping:
            for kept in self.processes:
                if kept.process is not None:
                    kept.process.send_signal(signal.SIGTERM)
        self.stopping = True


def _flags(settings: Settings, floor: str, *without: str) -> list[str]:
    """The settings of a floor that are not the defaults, as flags."""
    words: list[str] = []
    for name in names_for(floor):
        row, value = TABLE[name], getattr(settings, name)
        if name in without or not row.flag or value == row.default:
            continue
        if row.kind is bool:
            words.append(row.flag if value else f"--no-{row.flag[2:]}")
        else:
            words += [row.flag, row.shown(value)]
    return words


def _free_port(settings: Settings | None) -> int:
    """The port that the settings name if it is free, else any: the workers are told."""
    for port in (settings.port, 0) if settings is not None else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host if settings is not None else "127.0.0.1", port))
            except OSError:
                log.info("another program listens there; the master takes another port", extra=fields(port=port))
                continue
            return int(probe.getsockname()[1])
    raise UsageError("no port can be listened on: check --host")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """The entry point."""
    run(tmatic_crawl, "tmatic-crawl")


if __name__ == "__main__":
    main()
