"""Ports for servers that are called before they listen, or that must stay free for a while before they do.

None is one that the system gives to a connection meanwhile, as those are that bind to port 0 finds.
"""

from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """One that nobody has."""
    return free_ports(0)


def free_ports(*beside: int) -> int:
    """One that is free together with those so far above it; without more, those that a pair of masters needs."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        if all(is_free(port + number) for number in (0, *(beside or (1, 10, 11)))):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as one, contextlib.suppress(OSError):
        one.bind(("127.0.0.1", port))
        return True
    return False
