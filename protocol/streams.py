"""The standard streams: a failed write to standard output ends a command with one sentence; to standard error, never.

Rules:

1. Descriptors 0 to 2 are opened before anything else: otherwise the next socket or file would get the number of a
   closed one, and receive what is written to the terminal.
2. What standard output cannot encode is escaped (`\\xe9`, `\\u20ac`): no character ends a command.
3. A failed write to standard output (a full disk, a terminal that is gone) is an OutputError. A closed pipe is a
   BrokenPipeError, which the command line handles.
4. A failed write to standard error is dropped: there is no other place to report it, and the work must go on.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from protocol.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD: Final = (0, 1, 2)


class GuardedStream(io.FileIO):
    """A descriptor whose writes block, and that raises a readable error for a failed one."""

    def __init__(self, descriptor: int, called: str) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._called = called

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of the data. Raises OutputError, and BrokenPipeError when the reader closed the pipe."""
        try:
            return _written(self, super().write, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"{self._called}: {error.strerror or error}") from error


class Dropping(io.FileIO):
    """A file whose writes never fail. Data that it could not write are lost, and `tell` is called with the reason: the
    first time, and the first time after a successful write."""

    def __init__(self, file: int | str, mode: str = "wb", tell: Callable[[OSError], None] | None = None) -> None:
        super().__init__(file, mode, closefd=not isinstance(file, int))
        self._tell, self._fails = tell, False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of the data, or drop all of it."""
        try:
            count = _written(self, super().write, data)
        except OSError as error:
            first, self._fails = not self._fails, True
            if first and self._tell is not None:
                self._tell(error)
            return memoryview(data).nbytes
        self._fails = False
        return count


def _written(file: io.FileIO, write: Callable[[ReadableBuffer], int | None], data: ReadableBuffer) -> int:
    """How much was written. Another process that shares the terminal or pipe may have made it non-blocking: then this
    waits, as if it were blocking."""
    while (count := write(data)) is None:
        ready = select.poll()
        ready.register(file.fileno(), select.POLLOUT)
        ready.poll()
    return count


def open_streams() -> None:
    """Open those of descriptors 0 to 2 that are closed, on /dev/null. Must run before anything else is opened."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


def prepare_streams() -> None:
    """Make the standard streams of this process follow the rules above. Called once, at the start of a command."""
    open_streams()
    sys.stdout = _text(io.BufferedWriter(GuardedStream(1, "standard output")), sys.stdout)
    sys.stderr = _text(io.BufferedWriter(Dropping(2)), sys.stderr, at_once=True)


def _text(buffer: io.BufferedWriter, before: TextIO | None, *, at_once: bool = False) -> TextIO:
    """A text stream in the encoding of the previous one, which escapes what that cannot encode."""
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        buffer,
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=at_once or buffer.isatty(),
        write_through=at_once or bool(getattr(before, "write_through", False)),
    )


def is_screen(stream: TextIO) -> bool:
    """Whether lines can be overwritten and coloured there: a terminal, unless it says that it cannot."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def give_up_output() -> None:
    """Send standard output to nowhere: flushing its buffer would fail again at interpreter exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
