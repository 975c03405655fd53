"""The standard streams: what a command says is kept, or it ends in one sentence; what it complains of never ends it.

Rules:

1. Descriptors 0 to 2 are open before anything else is: where one was closed, the next socket or file would get its
   number, and be sent what was meant for a terminal.
2. What standard output cannot show in its encoding is escaped (`\\xe9`, `\\u20ac`): no letter ends a command.
3. What standard output cannot keep (a full disk, a terminal that is gone) is an OutputError. A reader that left is a
   BrokenPipeError, which the command line knows.
4. What standard error cannot keep is dropped: there is nobody left to tell, and the work is worth more than the words.
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
    """A descriptor whose writes are waited for, and that says in words what became of one that failed."""

    def __init__(self, descriptor: int, called: str) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._called = called

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of it. Raises OutputError, and BrokenPipeError when its reader left."""
        try:
            return _written(self, super().write, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"{self._called}: {error.strerror or error}") from error


class Dropping(io.FileIO):
    """A file whose writes never fail. What it could not keep is gone, and `tell` hears why: the first time, and the
    first time after a write that went well."""

    def __init__(self, file: int | str, mode: str = "wb", tell: Callable[[OSError], None] | None = None) -> None:
        super().__init__(file, mode, closefd=not isinstance(file, int))
        self._tell, self._fails = tell, False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of it, or drop it all."""
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
    """How much was written. Others who share a terminal or a pipe may have made it non-blocking: then it is waited
    for, as if it were not."""
    while (count := write(data)) is None:
        ready = select.poll()
        ready.register(file.fileno(), select.POLLOUT)
        ready.poll()
    return count


def open_streams() -> None:
    """Open what was closed of descriptors 0 to 2, on /dev/null. Must come before anything else is opened."""
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
    """Make the standard streams of this process keep the rules above. For a command line, once, at its start."""
    open_streams()
    sys.stdout = _text(io.BufferedWriter(GuardedStream(1, "standard output")), sys.stdout)
    sys.stderr = _text(io.BufferedWriter(Dropping(2)), sys.stderr, at_once=True)


def _text(buffer: io.BufferedWriter, before: TextIO | None, *, at_once: bool = False) -> TextIO:
    """A stream of text in the encoding of the one that was there before, which escapes what that cannot hold."""
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
    """Whether a line there can be written over, and coloured: a terminal, and not one that says it cannot."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def give_up_output() -> None:
    """Send standard output nowhere: what is still in its buffer would fail once more when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
