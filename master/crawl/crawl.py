"""A whole crawl on one machine: its processes from start to end, and its ports."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from master.crawl.ports import PORTS_TRIED, Ports, is_taken, listens, take
from master.crawl.supervision import SupervisedProcess, reap_orphans, stop_all
from protocol.child_commands import child
from protocol.cli import OVER
from protocol.errors import TmaticError, UsageError
from protocol.logs import fields
from protocol.settings.configuration import as_environment
from protocol.settings.settings import TABLE, Settings
from protocol.stopping import SIGNALLED, listening
from protocol.transport.endpoints import local_pair
from storage.dataset.open import open_dataset

log = logging.getLogger(__name__)

LOOK_S = 0.05
STOP_S = 15.0
NEVER_LED_S = 10.0
"""A master that ends with a message so soon after its first start has named what the user must correct."""
FOLLOWS_S = 5.0
"""When a crawl is over, how long the second master of a pair may take to leave after the first."""
LEAVE_S = 1.0
"""How long workers may take to leave by themselves after their master; one that it never met gets a signal."""
EMULATOR_START_S = 60.0
LOOPBACK = "127.0.0.1"
AS_IT_IS = ("--config", os.devnull)
"""A process that gets all its settings does not read a settings file as well."""


@dataclass(slots=True)
class CrawlRequest:
    """The options of the command line besides the settings."""

    targets: str | None
    letters: tuple[str, ...]
    seeds: str | None
    adopt: bool
    workers: int
    emulator: list[str] | None
    """The arguments of the emulator; None without one."""
    pair: bool


@dataclass(slots=True)
class Crawl:
    """One run of `tmatic-crawl`."""

    settings: Settings
    asked: CrawlRequest
    ports: Ports | None = None
    base_url: str = ""
    stopping: bool = False
    signalled: int = 0
    """The first signal that stopped this process."""
    verdict: int = 0
    """The exit code of a master whose crawl was over."""
    emulator_ports: Ports | None = None
    moves: int = 0
    """How often another process listened first on a port of this crawl."""
    emulators: list[SupervisedProcess] = field(default_factory=list)
    masters: list[SupervisedProcess] = field(default_factory=list)
    workers: list[SupervisedProcess] = field(default_factory=list)

    def run(self) -> int:
        """Run to the end of the crawl. Returns the exit code. Raises DatasetError for an unusable directory."""
        settings = self.settings
        self._take_ports(settings.port)
        self.base_url = self.settings.base_url
        with listening(self._signalled):
            if self.asked.emulator is not None:
                self.emulators = [self.kept("the emulator", self._emulator, lambda: self.settings)]
            names = ("master 0", "master 1") if self.asked.pair else ("the master",)
            self.masters = [
                self.kept(name, self._master, partial(self.master_settings, n)) for n, name in enumerate(names)
            ]
            self.workers = [
                self.kept(f"worker {n}", partial(self._worker, n), partial(self.worker_settings, n))
                for n in range(1, self.asked.workers + 1)
            ]
            code = 1
            try:
                if self.emulators:  # before anything is created, since it may refuse its arguments
                    self._start_emulator(self.emulators[0])
                open_dataset(settings).check()
                code = self._watch(self.emulators, self.masters, self.workers)
            finally:
                self.stop()
        return code

    @property
    def port(self) -> int:
        """The port of the first master; 0 before it has one."""
        return self.ports.first if self.ports is not None else 0

    # Overridden by a rehearsal.

    def kept(self, name: str, command: Callable[[], list[str]], settings: Callable[[], Settings]) -> SupervisedProcess:
        """One process of this crawl. It reads its settings from its environment, which other users cannot read."""
        return SupervisedProcess(name, command, lambda: as_environment(settings(), os.environ))

    def turn(self, now: float) -> None:
        """Check the processes once."""

    def own(self) -> list[int]:
        """The processes that this one started and waits for."""
        kept = (*self.emulators, *self.masters, *self.workers)
        return [one.process.pid for one in kept if one.process is not None]

    def stop(self) -> None:
        """Stop everything, each process before those that it needs."""
        for some in (self.workers, self.masters, self.emulators):
            stop_all(some, STOP_S)

    def _watch(
        self, emulator: list[SupervisedProcess], masters: list[SupervisedProcess], workers: list[SupervisedProcess]
    ) -> int:
        left_at: float | None = None
        while not self.stopping:
            now = time.monotonic()
            self.turn(now)
            for master in masters:
                code = master.look(now)
                if code in OVER:
                    master.over, master.over_at, self.verdict = True, now, max(self.verdict, code)
                elif code is not None:
                    if code == 2 and self._is_lost(self.settings.host, self.port + masters.index(master)):
                        self._move_masters()
                        break
                    never_led = code == 1 and master.deaths == 0 and now - master.started_at < NEVER_LED_S
                    if code == 2 or never_led or not master.again(now, code):
                        return 2 if code == 2 else 1
            if all(master.over for master in masters):
                self._let_leave(workers)
                return self.verdict
            # The other master of the pair goes on: this one was stopped, and the crawl is not over.
            for master in masters:
                if master.over and now - master.over_at > FOLLOWS_S:
                    log.info(f"{master.name} left, and is started again to stand by")
                    master.over = False
            for number, kept in enumerate((*emulator, *workers)):
                code = kept.look(now)
                if code == 0 and number >= len(emulator):  # only this process stops an emulator
                    kept.over = True
                elif code == 1 and number < len(emulator) and self._is_lost(LOOPBACK, self._emulator_port):
                    self._start_emulator(kept)
                    self._begin_anew(workers)
                elif code is not None and (code == 2 or not kept.again(now, code)):
                    log.error(f"{kept.name} cannot be kept alive", extra=fields(code=code))
                    return 2 if code == 2 else 1
            left_at = left_at or now if all(worker.over for worker in workers) else None
            if left_at is not None and now - left_at > STOP_S:
                log.error("every worker was told to leave, and the master has not ended")
                return 1
            reap_orphans(self.own())
            time.sleep(LOOK_S)
        log.info("stopping: call again with the same --output to go on")
        return SIGNALLED + self.signalled

    def _let_leave(self, workers: list[SupervisedProcess]) -> None:
        """The master reported that all is done: its workers leave by themselves."""
        deadline = time.monotonic() + LEAVE_S
        for worker in workers:
            if worker.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, deadline - time.monotonic()))

    # The settings of each process.

    def master_settings(self, number: int) -> Settings:
        """The settings of a master."""
        return replace(self.settings, port=self.port, ha=str(number) if self.asked.pair else "", peer="")

    def worker_settings(self, number: int) -> Settings:
        """The settings of a worker: its share of the addresses, and a quieter log."""
        places = local_pair(self.settings.host, self.port)[: 2 if self.asked.pair else 1]
        addresses = self.settings.bind_ip
        mine = addresses[number - 1 :: self.asked.workers] or addresses[(number - 1) % max(1, len(addresses)) :][:1]
        quiet = self.settings.log_level == TABLE["log_level"].default
        return replace(
            self.settings,
            master=places,
            base_url=self.base_url,
            bind_ip=mine,
            log_level="warning" if quiet else self.settings.log_level,
        )

    def _master(self) -> list[str]:
        words = child("master.commands.master", *self.asked.letters, *AS_IT_IS)
        words += ["--stream", self.asked.targets] if self.asked.targets else []
        words += ["--seeds", self.asked.seeds] if self.asked.seeds else []
        return [*words, "--adopt"] if self.asked.adopt else words

    def _worker(self, number: int) -> list[str]:
        return child("worker.command", f"worker-{number:03d}", *AS_IT_IS)

    def _emulator(self) -> list[str]:
        options = self.asked.emulator or []
        return child("services.emulator.command", "--port", str(self._emulator_port), *options)

    @property
    def _emulator_port(self) -> int:
        assert self.emulator_ports is not None, "an emulator that runs has its port"
        return self.emulator_ports.first

    def _start_emulator(self, kept: SupervisedProcess) -> None:
        """Start it on a port that it keeps over restarts, and wait until it listens."""
        while not self.stopping:
            self._let_go(self.emulator_ports)
            self.emulator_ports = take(LOOPBACK, 0, 1)
            self.base_url = f"http://{LOOPBACK}:{self._emulator_port}"
            if self._comes_up(kept):
                return

    def _comes_up(self, kept: SupervisedProcess) -> bool:
        """Start the emulator. False when another process took its port before it listened there."""
        kept.start(time.monotonic())
        assert kept.process is not None
        deadline = time.monotonic() + EMULATOR_START_S
        while not self.stopping and not listens(kept.process.pid, self._emulator_port):
            if kept.process.poll() is not None:
                if self._is_lost(LOOPBACK, self._emulator_port):
                    return False
                raise UsageError("the emulator did not start: its own words are above")
            if time.monotonic() > deadline:
                raise TmaticError(f"the emulator does not listen after {EMULATOR_START_S:.0f} s")
            time.sleep(LOOK_S)
        return True

    # Ports.

    def _take_ports(self, wanted: int) -> None:
        self._let_go(self.ports)
        self.ports = take(self.settings.host, wanted, 2 if self.asked.pair else 1)
        if wanted not in (0, self.port):
            told = log.info if wanted == TABLE["port"].default else log.warning  # a chosen port matters to the user
            about = fields(port=wanted, taken=self.port)
            told("another program listens there; the master takes another port", extra=about)

    def _let_go(self, ports: Ports | None) -> None:
        if ports is not None:
            ports.release()

    def _is_lost(self, host: str, port: int) -> bool:
        """Whether a process that could not start has lost its port to another process, and needs a new one."""
        if self.moves >= PORTS_TRIED or not is_taken(host, port):
            return False
        self.moves += 1
        log.warning("another program listens on this port now: the crawl goes on at another", extra=fields(port=port))
        return True

    def _move_masters(self) -> None:
        """Restart on other ports. The workers too: the old address may belong to a master of another crawl."""
        for some in (self.workers, self.masters):
            self._begin_anew(some)
        self._take_ports(0)

    def _begin_anew(self, kept: list[SupervisedProcess]) -> None:
        stop_all(kept, STOP_S)
        for one in kept:
            one.over, one.start_at, one.deaths = False, 0.0, 0

    # Signals.

    def _signalled(self, number: int) -> None:
        self.signalled = self.signalled or number
        if self.stopping:
            for kept in (*self.emulators, *self.masters, *self.workers):
                if kept.process is not None:
                    kept.process.send_signal(signal.SIGTERM)
        self.stopping = True
