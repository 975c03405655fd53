"""Counts the requests to the emulator, so that a test can compare what a client reports with what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

_MAX_IDENTITY_LENGTH = 200
_MAX_CALLERS = 10_000
REMEMBERED = 2_000_000
"""Identities that are remembered; further ones are counted but not distinguished."""


def identity_of(path: str, params: Mapping[str, str]) -> str:
    """Path and sorted parameters without credentials; a long list of parameters is replaced by its hash."""
    text = "&".join(f"{name}={params[name]}" for name in sorted(params) if not name.startswith("oauth_"))
    if len(text) > _MAX_IDENTITY_LENGTH:
        text = f"blake2b:{blake2b(text.encode(), digest_size=16).hexdigest()}"
    return f"{path}?{text}"


class Tally:
    """Counts of requests. Memory is bounded by `remembered` identities and 10,000 callers."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self.clear()

    def clear(self) -> None:
        """Reset all counts."""
        self.total = 0
        self.refused = 0
        self.faulted = 0
        self.forgotten = 0
        self._answers: Counter[tuple[str, int]] = Counter()
        self._callers: Counter[tuple[str, str]] = Counter()
        self._identities: dict[str, list[int]] = {}
        self.too_soon = 0
        self._not_before: dict[str, float] = {}

    def come(self, identity: str, now: float) -> None:
        """A request arrives: too soon, if it comes before the Retry-After of its refusal."""
        if self._not_before:
            self.too_soon += now < self._not_before.pop(identity, now)

    def put_off(self, identity: str, until: float) -> None:
        """The client was told not to repeat this request before `until`."""
        if len(self._not_before) < self._remembered:
            self._not_before[identity] = until

    def count(self, endpoint: str, who: str, status: int, identity: str, *, full: bool, faulted: bool) -> None:
        """One response. `full` is whether it is a 200 without omissions; `faulted` whether it met a fault."""
        self.total += 1
        self.refused += status == 429
        self.faulted += faulted
        self._answers[(endpoint, status)] += 1
        caller = (endpoint, who)
        self._callers[caller if caller in self._callers or len(self._callers) < _MAX_CALLERS else ("…", "…")] += 1
        counts = self._identities.get(identity)
        if counts is None:
            if len(self._identities) >= self._remembered:
                self.forgotten += 1
                return
            counts = self._identities[identity] = [0, 0]
        counts[0] += 1
        counts[1] += full

    def requests(self) -> dict[str, object]:
        """Everything but the identities. `beyond_budget` are the requests that exceeded the window (429), `too_soon`
        those that were repeated before the Retry-After of their refusal."""
        by_path: dict[str, dict[str, int]] = {}
        for (endpoint, status), count in sorted(self._answers.items()):
            by_path.setdefault(endpoint, {})[str(status)] = count
        by_caller: dict[str, dict[str, int]] = {}
        for (endpoint, who), count in sorted(self._callers.items()):
            by_caller.setdefault(endpoint, {})[who] = count
        again = sum(max(0, counts[1] - 1) for counts in self._identities.values())
        return {
            "total": self.total,
            "beyond_budget": self.refused,
            "faulted": self.faulted,
            "too_soon": self.too_soon,
            "answered_again": again,
            "identities": len(self._identities),
            "identities_forgotten": self.forgotten,
            "by_path": by_path,
            "by_caller": by_caller,
        }

    def identities(self, at_least: int) -> dict[str, dict[str, int]]:
        """Each identity answered in full `at_least` times, with how often it was requested and answered in full."""
        return {
            identity: {"asked": counts[0], "answered": counts[1]}
            for identity, counts in self._identities.items()
            if counts[1] >= at_least
        }
