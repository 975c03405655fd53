"""How much of a server a client may use: sizes, times, numbers. Each has a reason, and none is configurable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one server. Times are in seconds; a client that exceeds one is disconnected."""

    connections: int = 1_024
    """Simultaneous, event streams included; further ones wait in the system's backlog."""
    head_bytes: int = 32 << 10
    """For the request line and all headers together. Browsers send a tenth of it."""
    body_bytes: int = 1 << 20
    large_bodies: int = 32
    """Bodies of more than 64 KiB that are read simultaneously; this bounds the memory that all clients together use."""
    idle_s: float = 30.0
    """How long a connection may stay open between two requests."""
    head_s: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_s: float = 20.0
    """For the whole body."""
    write_s: float = 20.0
    """For the client to accept each chunk of a response."""
    ending_s: float = 3.0
    """How long responses in progress may take after the server is stopped."""
