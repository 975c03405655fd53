"""The signals that tell a process to stop, from its first line to its last.

| signal | from |
|---|---|
| SIGTERM | a supervisor, `kill` |
| SIGINT | Ctrl-C |
| SIGHUP | a terminal that closed; `nohup` has it ignored, and then it stays so |

- Until a command listens to them in its own way, they end it by an exception, so that whatever it has begun is undone.
- While a process is being started they wait: between its start and the note that it was started nothing may come.
- A SIGHUP begins a stop and never hastens one: shells and systemd send one after another signal, or two at once. Of
  signals that come at once Python hears the lowest number first, which is SIGHUP: the one after it hastens nothing
  either.

SIGQUIT stays the kernel's. Like SIGKILL it is for who wants an end at once, with a core of what was going on.
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
"""And the number of the signal: the exit code of who was cut short by one, as shells have it."""


class _Waiting:
    """How deep this process is in what must not be cut, and the signal that came meanwhile."""

    depth = 0
    number = 0


def stop_signals() -> tuple[signal.Signals, ...]:
    """Those that this process is to hear."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if nohup else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def set_up(register: Callable[[signal.Signals, Any], T], handler: Any) -> dict[signal.Signals, T]:
    """Have `handler` called at each signal to stop. `register` is `signal.signal`, or what an event loop has in its
    place; what it returned is told by signal."""
    return {number: register(number, handler) for number in stop_signals()}


@contextlib.contextmanager
def listening(told: Callable[[int], object], *, wakes: int | None = None) -> Iterator[None]:
    """Have `told` called with the number of each signal that begins a stop or hastens it. A byte is written to the
    descriptor `wakes` at each signal, for who polls its other end."""
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
    """Let a signal to stop end what is in the block: by KeyboardInterrupt for Ctrl-C, else by SystemExit.

    Only the main thread hears signals; elsewhere this does nothing. Ctrl-C that a shell had ignored stays so.
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
    """What is in the block comes to its end before a signal ends the process; it must be short. In a thread other than
    the main one, which no signal ends, this does nothing: who ends such a thread waits for it."""
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
    """End what is under way, as a signal does that nobody listens to in a way of their own."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(SIGNALLED + number)
