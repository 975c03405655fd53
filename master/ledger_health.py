"""Whether the ledger serves, and what a master logs while it does not. No clock, no I/O.

    well ──trouble──▶ logged, and again every ten seconds ──no trouble for a while──▶ "the ledger serves again"

A server that is a replica, or out of memory, answers every read and refuses every write. So a successful read does not
end the trouble of a write, unless a write succeeded since; the ledger serves again once it did so for `STEADY_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.repeated_warnings import RepeatedWarnings
from storage.ledger.ledger import Lead

STEADY_S = 1.0
"""How long there must be no trouble: longer than a master waits before it retries."""
WELL_AGAIN = "the ledger serves again"


@dataclass(slots=True)
class Health:
    """The ledger's health as seen by this master. `trouble` is why it does not serve, or "" while it does."""

    trouble: str = ""
    answered_at: float = float("-inf")
    _unwritten: bool = False
    _lead: tuple[str, int] | None = None

    def answered(self, now: float, lead: Lead | None) -> None:
        """A call succeeded: the lead was read, or, without one, a write is done."""
        self.answered_at = now
        seen = None if lead is None else (lead.incarnation, lead.beat)
        if seen is not None and self._unwritten and self._lead in (None, seen):
            self._lead = seen
        else:
            self.trouble, self._unwritten, self._lead = "", False, None

    def failed(self, words: str, *, write: bool) -> None:
        """A call failed."""
        self.trouble, self.answered_at = words, float("-inf")
        self._unwritten = self._unwritten or write


@dataclass(slots=True)
class HealthMessages:
    """The messages about the ledger's health."""

    complaints: RepeatedWarnings = field(default_factory=RepeatedWarnings)
    _told: bool = False
    _well_since: float | None = None

    def look(self, now: float, trouble: str) -> str:
        """The message to log for this trouble of the ledger, or for none; "" for no message."""
        if trouble:
            self._told, self._well_since = True, None
            return trouble if self.complaints.is_news(now, trouble) else ""
        if not self._told:
            return ""
        self._well_since = now if self._well_since is None else self._well_since
        if now - self._well_since < STEADY_S:
            return ""
        self._told = False
        self.complaints.over()
        return WELL_AGAIN
