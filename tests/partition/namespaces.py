"""Network namespaces with an owner: made under its name, and swept by the next one when it died without cleaning.

A namespace outlives the process that made it. So its name tells the owner, by process id and start time (an id
alone comes round again), and whoever makes namespaces first removes those whose owner is no more, and whatever
still runs in them.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.waiting import until

PREFIX = "tmatic-world"
TIMEOUT_S = 20.0
FOLDER = Path("/run/netns")

TOOLS = {"ip": "iproute2", "nft": "nftables"}
"""What must be installed, and the Debian package that it comes in."""

CLONE_NEWNET = 0x40000000

_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def require_tools() -> None:
    """Raises AssertionError, in a sentence that says what to do, where no namespace can be made."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    lacks = [f"has no {tool}" for tool in missing] + (["does not run as root"] if os.geteuid() else [])
    packages = " ".join(TOOLS.values())
    assert not lacks, (
        f"the tests of network partitions need root and the Debian packages {packages}, and this machine "
        f"{' and '.join(lacks)}: as root, apt-get install --no-install-recommends {packages}"
    )


def command(*words: str, lines: Iterable[str] = ()) -> str:
    """What a tool says. Raises AssertionError with its complaint when it fails."""
    done = subprocess.run(words, input="\n".join([*lines, ""]), capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}"
    return done.stdout


def own_prefix() -> str:
    """What the names of this process's namespaces start with."""
    return f"{PREFIX}-{os.getpid()}-{_start_of(os.getpid())}-"


def new_prefix() -> str:
    """For the namespaces of one more world of this process."""
    return f"{own_prefix()}{next(_numbers)}-"


def existing(prefix: str = f"{PREFIX}-") -> list[str]:
    return sorted(path.name for path in FOLDER.glob(f"{prefix}*"))


def sweep() -> None:
    """Removes what owners left that are no more."""
    for name in existing():
        told = re.fullmatch(rf"{PREFIX}-(\d+)-(\d+)-.*", name)
        if told and _start_of(int(told[1])) != told[2]:
            remove([name])


def remove(names: Iterable[str]) -> None:
    """The namespaces go, and before them every process in them, also one that left its group and session."""
    for name in names:
        _remove(name)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread, and threads that it starts, are in the namespace while the block lasts.

    A socket belongs for ever to the namespace in which it was made.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def entering(name: str) -> list[str]:
    """The words before a command that is to run in the namespace. It keeps its process id: nothing forks."""
    return ["nsenter", f"--net={FOLDER / name}", "--"]


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")


def _remove(name: str) -> None:
    until(lambda: not _kill_all(name), TIMEOUT_S)
    try:
        command("ip", "netns", "delete", name)
    except AssertionError:
        # Another process may have swept it at the same time.
        if (FOLDER / name).exists():
            raise


def _kill_all(name: str) -> bool:
    """Whether there still was anything to kill."""
    try:
        found = command("ip", "netns", "pids", name).split()
    except AssertionError:
        if (FOLDER / name).exists():
            raise
        return False
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    return bool(found)


def _start_of(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None when it is no more."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else fields[18]
