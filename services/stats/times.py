"""Parses times of a command line, and formats times for people."""

from __future__ import annotations

import re
from datetime import datetime

from protocol.errors import UsageError


def unix_time(said: str, flag: str, now: float) -> int:
    """Parse a unix time: `now`, seconds, or ISO 8601, which is local time unless it has a time zone.

    Raises UsageError, which names the flag.
    """
    if said == "now":
        return int(now)
    if re.fullmatch(r"[0-9]{1,12}", said):
        return int(said)
    try:
        return int(datetime.fromisoformat(said).timestamp())
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{flag} must be a time like 2026-11-24T18:30, now, or unix seconds, not {said[:40]!r}"
        ) from None


def clock_time(at: int) -> str:
    """A unix time in local time, in a form that `unix_time` parses."""
    return datetime.fromtimestamp(at).isoformat()


def speed(said: str) -> float:
    """Parse a speed: `60x` is sixty times the original speed, `max` does not wait. Raises UsageError."""
    if said == "max":
        return float("inf")
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)x?", said)
    if not found or not float(found[1]):
        raise UsageError(f"--speed must be max, or a number of times like 60x, not {said[:40]!r}")
    return float(found[1])
