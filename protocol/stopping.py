"""The signals that stop a process, from its first line to its last.

| signal | from |
|---|---|
| SIGTERM | a supervisor, `kill` |
| SIGINT | Ctrl-C |
| SIGHUP | a terminal that closed; `nohup` has it ignored, and then it stays ignored |

- Until a command installs its own handling, they end it by an exception, so that what it has begun is undone.
- While a child process is started they are deferred: no signal may arrive between its start and the record of it.
- A SIGHUP begins a stop and never hastens one: shells and systemd send one after another signal, or two at once. Of
  simultaneous signals Python handles the lowest number first, which is SIGHUP: the one after it does not hasten the
  stop either.

SIGQUIT keeps the kernel's default. Like SIGKILL it ends the process at once, but with a core dump.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

SIGNALLED = 128
"""Plus the signal's number: the exit code of a process that a signal ended, by the convention of shells."""


class _Waiting:
    """The nesting depth of uninterruptible blocks, and the signal that arrived meanwhile."""

    depth = 0
    number = 0


def stop_signals() -> tuple[signal.Signals, ...]:
    """The stop signals that this process handles."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if nohup else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def set_up(register: Callable[[signal.Signals, Any], T], handler: Any) -> dict[signal.Signals, T]:
    """Make each stop signal call `handler`. `register` is `signal.signal`, or an event loop's equivalent; its results
    are returned by signal."""
    return {number: register(number, handler) for number in stop_signals()}


@contextlib.contextmanager
def listening(told: Callable[[int], object], *, wakes: int | None = None) -> Iterator[None]:
    """Call `told` with the number of each signal that begins a stop or hastens it. A byte is written to the descriptor
    `wakes` at each signal, for a poller of its other end."""
    came: list[int] = []

    def heard(number: int, _frame: FrameType | None) -> None:
        if came and number == signal.SIGHUP:
            return
        came.append(number)
        if len(came) != 2 or came[0] != signal.SIGHUP:
            told(number)

    before = set_up(signal.signal, heard)
    if wakes is not None:
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if wakes is not None:
            signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def cut_short() -> Iterator[None]:
    """Let a stop signal end the block: by KeyboardInterrupt for Ctrl-C, else by SystemExit.

    Only the main thread handles signals; elsewhere this does nothing. Ctrl-C that a shell had ignored stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with listening(_come):
        if deaf:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        yield


@contextlib.contextmanager
def uncut() -> Iterator[None]:
    """The block completes before a signal ends the process; it must be short. In a thread other than the main one,
    which no signal ends, this does nothing: the code that ends such a thread waits for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Waiting.depth += 1
    try:
        yield
    finally:
        _Waiting.depth -= 1
    if _Waiting.number and not _Waiting.depth:
        number, _Waiting.number = _Waiting.number, 0
        _come(number)


def _come(number: int) -> None:
    if _Waiting.depth:
        _Waiting.number = _Waiting.number or number
    else:
        leave(number)


def leave(number: int) -> NoReturn:
    """End the current work, as a signal without a handler of its own does."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(SIGNALLED + number)
