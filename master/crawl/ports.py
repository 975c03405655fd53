"""Ports for processes that this one starts: found free, and reserved until those listen.

Two things reserve a port. A socket that is bound to it and does not listen: the kernel does not assign the port as any
free one, and a plain bind to it is refused; only processes that share addresses, as servers do, can listen there first,
our children among them. And a name that commands like this one claim, so that of two that start at once one takes the
next port. The remaining case is a foreign server that takes the port in the moment before our child listens: then the
child is refused, and `is_taken` tells why.
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
"""The state of a listening socket in the kernel's table of sockets."""


@dataclass(slots=True)
class Ports:
    """Consecutive ports, by the first one, which this process reserves."""

    first: int
    _kept: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def release(self) -> None:
        """Release the ports."""
        self._kept.close()


def take(host: str, wanted: int, count: int) -> Ports:
    """`count` consecutive ports: those from `wanted` on if it is not 0 and they are free, else any. Raises UsageError
    where listening fails for another reason than that the port is taken."""
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
            except OverflowError:  # any port, and it was the highest one
                continue
            return Ports(port, kept.pop_all())
    raise UsageError(f"no {count} ports in a row are free on {host}: name one by --port")


def is_taken(host: str, port: int) -> bool:
    """Whether a process listens there, so that no other can."""
    try:
        with _bound(host, port):
            return False
    except OSError as error:
        return error.errno == errno.EADDRINUSE


def listens(pid: int, port: int) -> bool:
    """Whether that process, and no other, listens on an IPv4 port."""
    with contextlib.suppress(OSError):  # it has ended
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
    """Reserve a port, 0 for any, until the stack is closed; returns it. Raises OSError, OverflowError."""
    held = kept.enter_context(_bound(host, port))
    port = int(held.getsockname()[1])
    # An abstract name, in no folder; like the ports it belongs to this network, and is freed with its process.
    named = kept.enter_context(socket.socket(socket.AF_UNIX))
    named.bind(f"\0tmatic-port-{port}")
    return port


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as held:
        # The address is shared with the remaining connections of a former server, and with the one to come.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("" if host == "*" else host, port))
        yield held
