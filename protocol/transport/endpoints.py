"""Addresses to listen on or to connect to: HOST:PORT as written by a process on the same machine, or elsewhere.

An IPv6 address may be written with or without brackets wherever a host is expected, and is stored without; in
HOST:PORT, and so in a URL, it has them.
"""

from __future__ import annotations

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}
"""A process that listens on every address is reached, from the same machine, at this one."""


def bare(host: str) -> str:
    """A host without the brackets of an IPv6 address."""
    return host.removeprefix("[").removesuffix("]")


def written(host: str, port: int | str) -> str:
    """A host and a port as one text."""
    host = bare(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reached(host: str, port: int) -> str:
    """The address at which a process on this machine reaches a listener on that host and port."""
    return written(_ANY.get(bare(host), host), port)


def local_pair(host: str, port: int) -> tuple[str, str]:
    """The addresses of both masters of a pair whose first one listens on that host and port."""
    return reached(host, port), reached(host, port + 1)
