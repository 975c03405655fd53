"""Where masters are reached: HOST:PORT as a process on the same machine, or elsewhere, writes it."""

from __future__ import annotations

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}
"""Who listens on every address is reached, from the same machine, on this one."""


def reached(host: str, port: int) -> str:
    """How a process on this machine reaches who listens on that host and port."""
    host = _ANY.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_pair(host: str, port: int) -> tuple[str, str]:
    """Where both masters of a pair are, whose first one listens on that host and port."""
    return reached(host, port), reached(host, port + 1)
