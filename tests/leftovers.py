"""Processes that a test started, directly or not, and that are there still."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.waiting import until

PAUSE_S = 0.05
KILLED_WITHIN_S = 60.0


def belonging(mark: bytes, *places: Path) -> dict[int, str]:
    """The processes that have this mark in their environment or, since a Valkey writes its title over that, are in one
    of these folders or below; each with its command line."""
    inside, found = {place.resolve() for place in places}, dict[int, str]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            with contextlib.suppress(OSError):  # it is over
                there = (entry / "cwd").readlink()
                if inside & {there, *there.parents} or mark in (entry / "environ").read_bytes():
                    found[int(entry.name)] = os.fsdecode((entry / "cmdline").read_bytes().replace(b"\0", b" "))
    return found


def left_behind(within_s: float, mark: bytes, *places: Path) -> dict[int, str]:
    """Those that are there still after that long: what ends together with its parent takes a moment longer than that.
    They are ended then."""
    deadline = time.monotonic() + within_s
    while (left := belonging(mark, *places)) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    for number in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    until(lambda: not belonging(mark, *places), KILLED_WITHIN_S)
    return left
