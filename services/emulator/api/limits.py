"""Rate limits: fixed windows per (caller, endpoint), as the service counts them.

A window starts with its first request and has a fixed length. The announced reset is its end rounded up to a whole
second; a window of less than a second is therefore over before the announced instant, and a caller that waits until
that instant is never refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil

from protocol.errors import UsageError
from protocol.numbers import whole_number

REAL_WINDOW_S = 15 * 60
UNLIMITED = 1_000_000
"""The limit announced under `none`: counted down, never enforced."""
_MAX_WINDOWS = 200_000

ENDPOINTS = {
    "statuses/user_timeline": "T",
    "followers/ids": "F",
    "friends/ids": "F",
    "users/lookup": "A",
    "users/show": "S",
    "application/rate_limit_status": "R",
}
"""Each endpoint's letter in `--limits`. Endpoints that share a letter share the figure, not the count."""

_REAL = {"T": (900, 1500), "F": (15, 15), "A": (900, 300), "S": (900, 900), "R": (180, 180)}
_SETTABLE = "TFAS"
_SPEC = re.compile(r"(?P<counts>[^/]*)(?:/(?P<tail>[^/]*))?")
_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How many requests a window holds: letter -> (user or address, app). `enforced` is false under `none`."""

    counts: dict[str, tuple[int, int]]
    window_s: float = REAL_WINDOW_S
    enforced: bool = True

    def of(self, endpoint: str, *, app: bool) -> int:
        """Requests per window on an endpoint, for an app's bearer token or for anyone else."""
        return self.counts[ENDPOINTS[endpoint]][app]


def parse_limits(text: str) -> RateLimits:
    """Parse `none`, `real`, `real/60` (windows a 60th as long) or `T=90,F=15,A=90/15s` (counts / length of the window).

    Raises `UsageError` with a sentence that describes the error.
    """
    if text == "none":
        return RateLimits(dict.fromkeys(_REAL, (UNLIMITED, UNLIMITED)), enforced=False)
    found = _SPEC.fullmatch(text)
    if found is None or not found["counts"] or found["tail"] == "":
        raise UsageError(f"--limits {text!r} is none of: none, real, real/60, T=90,F=15,A=90/15s.")
    counts_text, tail = found["counts"], found["tail"]
    if counts_text == "real":
        divisor = 1 if tail is None else _positive(tail, f"what real is divided by in --limits {text!r}")
        return RateLimits(dict(_REAL), REAL_WINDOW_S / divisor)
    counts = dict(_REAL)
    for item in counts_text.split(","):
        letter, _, number = item.partition("=")
        if letter not in tuple(_SETTABLE):
            raise UsageError(f"--limits knows T (timeline), F (lists), A (lookup) and S (show), not {letter!r}.")
        count = _positive(number, f"the count of {letter} in --limits {text!r}")
        counts[letter] = (count, count)
    return RateLimits(counts, REAL_WINDOW_S if tail is None else _length_s(tail))


def _positive(text: str, what: str) -> int:
    number = whole_number(text, 999_999_999)
    if not number:
        raise UsageError(f"{what} must be a whole number from 1 to 999999999, not {text!r}.")
    return number


def _length_s(text: str) -> float:
    found = _LENGTH.fullmatch(text)
    length_s = float(found[1]) * _UNIT_S[found[2]] if found else 0.0
    if length_s <= 0:
        raise UsageError(f"the window's length in --limits must be like 15s, 500ms or 15m, not {text!r}.")
    return length_s


@dataclass(slots=True)
class LimitWindow:
    """What one caller has left on one endpoint. `end` is in seconds since 1970."""

    limit: int
    remaining: int
    end: float

    @property
    def reset(self) -> int:
        """The announced end: the first whole second that is not before the true end."""
        return ceil(self.end)


class Windows:
    """All open windows. Has no clock: the time is passed to each call."""

    def __init__(self, limits: RateLimits) -> None:
        self.limits = limits
        self._open: dict[tuple[str, str], LimitWindow] = {}

    def spend(self, who: str, endpoint: str, *, app: bool, now: float) -> tuple[bool, LimitWindow]:
        """Take one request from the caller's window. Returns whether it is allowed, and the window after it."""
        window = self._open.get((who, endpoint))
        if window is None or now >= window.end:
            if len(self._open) >= _MAX_WINDOWS:
                self._open = {key: kept for key, kept in self._open.items() if now < kept.end}
            window = self._fresh(endpoint, app=app, now=now)
            self._open[(who, endpoint)] = window
        if window.remaining:
            window.remaining -= 1
            return True, window
        return not self.limits.enforced, window

    def look(self, who: str, endpoint: str, *, app: bool, now: float) -> LimitWindow:
        """The caller's current window; if none is open, the one that would start at `now`."""
        window = self._open.get((who, endpoint))
        return self._fresh(endpoint, app=app, now=now) if window is None or now >= window.end else window

    def _fresh(self, endpoint: str, *, app: bool, now: float) -> LimitWindow:
        limit = self.limits.of(endpoint, app=app)
        return LimitWindow(limit, limit, now + self.limits.window_s)

    def clear(self) -> None:
        """Forget every window: all budgets are full again."""
        self._open.clear()
