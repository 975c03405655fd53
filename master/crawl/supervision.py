"""Supervision of processes: started, watched, restarted with back-off, and stopped in order."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import BinaryIO

from protocol.backoff import doubled
from protocol.child_commands import end_with
from protocol.logs import fields
from protocol.stopping import uncut

log = logging.getLogger(__name__)

FIRST_REST_S = 0.2
MAX_REST_S = 10.0
WELL_AFTER_S = 30.0
"""A process that ran for so long has recovered: its next death counts as its first."""
HOPELESS = 8
"""Deaths in a row, none after a longer run, after which a process is given up."""
_PR_GET_CHILD_SUBREAPER = 37


@dataclass(slots=True)
class SupervisedProcess:
    """One supervised process. `command` makes its command line for each start, and `environment` its environment."""

    name: str
    command: Callable[[], list[str]]
    environment: Callable[[], dict[str, str]]
    words: BinaryIO | None = None
    """Where its output goes; None: its log to the supervisor's standard error, and the rest nowhere."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0
    over: bool = False
    over_at: float = 0.0

    def start(self, now: float) -> None:
        """Start it. It gets its own process group, so that Ctrl-C in a terminal reaches only its supervisor, and a
        SIGTERM when the supervisor dies without stopping it."""
        self.started_at = now
        command, environment = self.command(), self.environment()
        with uncut():
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self.words or subprocess.DEVNULL,  # its output is not the output of its supervisor
                stderr=self.words,
                env=environment,
                start_new_session=True,
                preexec_fn=end_with(os.getpid()),
            )

    def look(self, now: float) -> int | None:
        """Start it if it is due. Returns its exit code once, when it ended; the caller decides what follows."""
        if self.over:
            return None
        if self.process is None:
            if now >= self.start_at:
                self.start(now)
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.process = None
        return code

    def again(self, now: float, code: int) -> bool:
        """Schedule a restart after a delay. False when it is hopeless."""
        self.deaths = 1 if now - self.started_at > WELL_AFTER_S else self.deaths + 1
        if self.deaths >= HOPELESS and code >= 0:
            return False
        rest = doubled(FIRST_REST_S, self.deaths - 1, MAX_REST_S)
        self.start_at = now + rest
        log.warning(
            f"{self.name} {_how(code)} and is started again", extra=fields(rest_s=round(rest, 1), deaths=self.deaths)
        )
        return True


def stop_all(kept: list[SupervisedProcess], within_s: float) -> None:
    """SIGTERM to all of them together, and SIGKILL to those that still run after so long."""
    for one in kept:
        one.over = True
        if one.process is not None:
            one.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + within_s
    for one in kept:
        if one.process is not None:
            try:
                one.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning(f"{one.name} does not end and is killed")
                one.process.kill()
                one.process.wait()
            one.process = None


def reap_orphans(own: Collection[int]) -> None:
    """Reap processes that this one inherited, as the first process of a container does: a server whose master was
    killed, for example. `own` are those that other code here waits for."""
    if os.getpid() != 1 and not _adopts():
        return
    with contextlib.suppress(ChildProcessError):  # there are none
        while (over := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and over.si_pid not in own:
            os.waitpid(over.si_pid, 0)


def _adopts() -> bool:
    """Whether this process inherits the orphans of its descendants."""
    said = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(said))
    return bool(said.value)


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
