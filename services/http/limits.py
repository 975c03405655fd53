"""What a client may take of a server: sizes, times, numbers. Each has a reason, and none is for the user to turn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one server. Times are in seconds; a client that overstays one is cut."""

    connections: int = 1_024
    """At once, event streams included; further ones wait in the system's queue."""
    head_bytes: int = 32 << 10
    """Of the request line and all headers together. Browsers send a tenth of it."""
    body_bytes: int = 1 << 20
    large_bodies: int = 32
    """Bodies of more than 64 KiB that are read at once, so that all clients together take little memory."""
    idle_s: float = 30.0
    """How long a connection may stay open between two requests."""
    head_s: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_s: float = 20.0
    """For all of a body."""
    write_s: float = 20.0
    """For each piece of an answer to be taken."""
    ending_s: float = 3.0
    """How long answers that are under way may take when the server is told to end."""
