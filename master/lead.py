"""When a master may take the lead of a crawl. No clock, no I/O: what was read of the lead, and when, goes in.

| what was read | then |
|---|---|
| nobody leads | take it |
| this process led last | take it: its own connection broke |
| a beat that went on since | wait: that master lives; after `PATIENCE_S` say so and give up |
| the same beat, for less than `SILENCE_S` or in fewer than `READS` answers | wait |
| the same beat, for longer | take it: that master is dead, or cannot reach the ledger |

The lease has no deadline in the ledger: a server's clock jumps. It lapses for an observer who saw the same beat long
enough by its own monotonic clock. A wrong guess costs a hiccup: the loser's next write is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from storage.ledger import Lead

SILENCE_S = 1.0
READS = 3
PATIENCE_S = 5.0


class Verdict(Enum):
    """What to do about the lead."""

    TAKE = "take"
    WAIT = "wait"
    ANOTHER_LEADS = "another leads"


@dataclass(slots=True)
class Candidate:
    """One wish to lead. `own` are the incarnations that this process used before."""

    own: frozenset[str] = frozenset()
    _seen: Lead | None = None
    _since: float = 0.0
    _reads: int = 0
    _alive_since: float | None = field(default=None)

    def read(self, now: float, lead: Lead) -> Verdict:
        """The lead as it was just read."""
        if not lead.incarnation or lead.incarnation in self.own:
            return Verdict.TAKE
        if self._seen is None or (lead.incarnation, lead.beat) != (self._seen.incarnation, self._seen.beat):
            if self._seen is not None and self._alive_since is None:
                self._alive_since = now
            self._seen, self._since, self._reads = lead, now, 0
        self._reads += 1
        if self._alive_since is not None and now - self._alive_since > PATIENCE_S and now - self._since < SILENCE_S:
            return Verdict.ANOTHER_LEADS
        if self._reads >= READS and now - self._since >= SILENCE_S:
            return Verdict.TAKE
        return Verdict.WAIT
