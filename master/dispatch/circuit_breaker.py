"""Circuit breakers: a service that fails for several accounts in a row gets no requests for a while, then one job's.

| event | effect |
|---|---|
| a page or an end is accepted | the breaker is reset |
| fewer than `ACCOUNTS` different accounts failed since | each failure counts for its own job |
| more | nothing is assigned for a while; then one job may try; if it fails too, the time is doubled |

Without this, an hour of a broken service would use up the tries of every waiting job, and turn them all into dead
letters. The job that tries uses one of its tries, or a crawl whose last jobs can never succeed would not end; jobs that
were in flight when the service failed do not.
No clock, no I/O: `now` is the caller's monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.backoff import Backoff

ACCOUNTS = 4
"""Different accounts that must fail, with no success between, before the failure counts as the service's."""
FIRST_REST_S = 5.0
MAX_REST_S = 300.0


@dataclass(slots=True)
class _Circuit:
    accounts: set[str] = field(default_factory=set)
    until: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_REST_S, MAX_REST_S))
    rest_s: float = 0.0
    probing: bool = False


@dataclass(slots=True)
class CircuitBreakers:
    """Breakers by the key of a budget: one caller and one endpoint. `notices` are for the operator."""

    by_key: dict[str, _Circuit] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def succeeded(self, key: str) -> None:
        """A request there succeeded."""
        trouble = self.by_key.pop(key, None)
        if trouble is not None and trouble.rest_s > 0:
            self.notices.append(f"{key} answers again")

    def failed(self, now: float, key: str, account: str, words: str) -> None:
        """A job failed there, for the reason `words`. If the service is at fault, its breaker opens."""
        trouble = self.by_key.setdefault(key, _Circuit())
        if len(trouble.accounts) < ACCOUNTS:
            trouble.accounts.add(account)
        if len(trouble.accounts) < ACCOUNTS:
            return
        if trouble.rest_s and not trouble.probing:  # it was in flight when the service failed
            return
        trouble.probing = False
        trouble.rest_s = trouble.backoff.next()
        trouble.until = now + trouble.rest_s
        what = f"{key} failed for {ACCOUNTS} accounts in a row"
        self.notices.append(f"{what}, and is left alone for {trouble.rest_s:g} s: {words}")

    def spares(self, key: str) -> bool:
        """Whether a failure there is the service's, and costs its job no try."""
        trouble = self.by_key.get(key)
        return trouble is not None and trouble.rest_s > 0 and not trouble.probing

    def room(self, now: float, key: str) -> int | None:
        """How many jobs may be assigned for it: None for any number. The one that may try counts once requested."""
        trouble = self.by_key.get(key)
        if trouble is None or not trouble.rest_s:
            return None
        return 1 if now >= trouble.until else 0

    def tried(self, now: float, key: str) -> None:
        """The one job that may try is assigned; without a result of it, another may try after the same time."""
        trouble = self.by_key.get(key)
        if trouble is not None and trouble.rest_s:
            trouble.probing, trouble.until = True, now + trouble.rest_s
