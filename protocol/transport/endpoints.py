"""Where somebody listens or is reached: HOST:PORT as a process on the same machine, or elsewhere, writes it.

An address of IPv6 may be said with brackets or without wherever a host is said, and is kept without; in HOST:PORT, and
so in a URL, it has them.
"""

from __future__ import annotations

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}
"""Who listens on every address is reached, from the same machine, on this one."""


def bare(host: str) -> str:
    """A host without the brackets of an IPv6 address."""
    return host.removeprefix("[").removesuffix("]")


def written(host: str, port: int | str) -> str:
    """A host and a port as one text."""
    host = bare(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reached(host: str, port: int) -> str:
    """How a process on this machine reaches who listens on that host and port."""
    return written(_ANY.get(bare(host), host), port)


def local_pair(host: str, port: int) -> tuple[str, str]:
    """Where both masters of a pair are, whose first one listens on that host and port."""
    return reached(host, port), reached(host, port + 1)
