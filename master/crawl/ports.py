"""Ports for processes that this one starts: found free, and kept from others until those listen.

Two things keep a port. A socket that is bound to it and does not listen: nobody is given the port as any free one, and
who asks for it plainly is refused; only who shares addresses, as servers do, can listen there first, our children among
them. And a name that commands like this one ask for, so that of two that begin at once one takes the next port. What is
left is a server that is none of ours and takes the port in the moment before our child listens: then the child is
refused, and `is_taken` tells why.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocol.errors import UsageError

PORTS_TRIED: Final = 20
LAST_PORT: Final = 65_535
LISTENS: Final = "0A"
"""How the kernel's table of sockets writes that one listens."""


@dataclass(slots=True)
class Ports:
    """Some ports in a row, by the first one, which this process keeps."""

    first: int
    _kept: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def release(self) -> None:
        """Let others have them."""
        self._kept.close()


def take(host: str, wanted: int, count: int) -> Ports:
    """So many ports in a row: those from `wanted` on if it is none of 0 and they are free, else any. Raises UsageError
    where none can be listened on for another reason than that somebody has it."""
    if wanted + count - 1 > LAST_PORT:
        raise UsageError(f"--port {wanted} is the last there is, and a pair needs two: name a lower one")
    for first in (wanted, *[0] * PORTS_TRIED):
        with contextlib.ExitStack() as kept:
            try:
                port = _keep(kept, host, first)
                for number in range(1, count):
                    _keep(kept, host, port + number)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                place = f"{host}, port {first}" if first else host
                raise UsageError(f"--host {place} cannot be listened on: {error.strerror or error}") from error
            except OverflowError:  # any port, and it was the last there is
                continue
            return Ports(port, kept.pop_all())
    raise UsageError(f"no {count} ports in a row are free on {host}: name one by --port")


def is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there, so that nobody else can."""
    try:
        with _bound(host, port):
            return False
    except OSError as error:
        return error.errno == errno.EADDRINUSE


def listens(pid: int, port: int) -> bool:
    """Whether it is that process that listens on a port of IPv4, and nobody else."""
    with contextlib.suppress(OSError):  # it is over
        own = set()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed meanwhile
                own.add(entry.readlink().name)
        for row in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            fields = row.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == LISTENS:
                return f"socket:[{fields[9]}]" in own
    return False


def _keep(kept: contextlib.ExitStack, host: str, port: int) -> int:
    """Keep a port, 0 for any, until the stack is closed; which one it is. Raises OSError, OverflowError."""
    held = kept.enter_context(_bound(host, port))
    port = int(held.getsockname()[1])
    # A name of the kernel's, in no folder; like the ports it belongs to this network, and goes with its process.
    named = kept.enter_context(socket.socket(socket.AF_UNIX))
    named.bind(f"\0tmatic-port-{port}")
    return port


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        # With what a former server left of its connections, and with the one to come, the address is shared.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("" if host == "*" else host, port))
        yield held
