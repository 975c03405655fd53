"""Keeping processes alive: started, watched, started again with back-off, and stopped in order."""

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
"""A process that lived so long is well again: its next death is its first."""
HOPELESS = 8
"""Deaths in a row, none after a longer life, with which a process is given up."""
_PR_GET_CHILD_SUBREAPER = 37


@dataclass(slots=True)
class SupervisedProcess:
    """One process that is to live. `command` makes its command line anew for each start, and `environment` that."""

    name: str
    command: Callable[[], list[str]]
    environment: Callable[[], dict[str, str]]
    words: BinaryIO | None = None
    """Where it writes; None: its log where its supervisor has it, and the rest nowhere."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0
    over: bool = False
    over_at: float = 0.0

    def start(self, now: float) -> None:
        """Start it. It gets a group of its own, so that Ctrl-C in a terminal reaches only its supervisor, and a
        SIGTERM when that one dies without a word."""
        self.started_at = now
        command, environment = self.command(), self.environment()
        with uncut():
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self.words or subprocess.DEVNULL,  # what it prints is not what its supervisor was asked to print
                stderr=self.words,
                env=environment,
                start_new_session=True,
                preexec_fn=end_with(os.getpid()),
            )

    def look(self, now: float) -> int | None:
        """Start it if it is due. Returns its exit code once, when it ended; what then is the caller's to say."""
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
        """Have it started again after a rest. False when it is hopeless."""
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
    """SIGTERM to all of them together, and SIGKILL to what is still there after so long."""
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
    """Take the exit codes of processes that were left to this one, as the first of a container has them: a server whose
    master was killed, for example. `own` are those that somebody else here waits for."""
    if os.getpid() != 1 and not _adopts():
        return
    with contextlib.suppress(ChildProcessError):  # there are none
        while (over := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and over.si_pid not in own:
            os.waitpid(over.si_pid, 0)


def _adopts() -> bool:
    """Whether the kernel gives this process what its descendants leave behind."""
    said = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(said))
    return bool(said.value)


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
