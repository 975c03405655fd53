"""Services that fail for several accounts in a row: they are left alone for a while, then asked by one job at a time.

| what happens | then |
|---|---|
| a page or an end is accepted | all is well |
| fewer than `ACCOUNTS` different accounts failed since | each is its own job's trouble |
| more | nothing is handed out for a while; then one job may try; if it fails too, the while is doubled |

Without this, an hour of a broken service would cost every waiting job its tries, and end them all as dead letters. The
job that tries pays with one of its tries, or a crawl whose last jobs can never succeed would not end; those that were
under way when the service went out do not.
No clock, no I/O: `now` is the caller's monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.backoff import Backoff

ACCOUNTS = 4
"""Different accounts that must fail, with no success between, before the service is to blame."""
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
    """By the key of a budget: one caller's way to one endpoint. `notices` are for the operator."""

    by_key: dict[str, _Circuit] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def succeeded(self, key: str) -> None:
        """Something was got there."""
        trouble = self.by_key.pop(key, None)
        if trouble is not None and trouble.rest_s > 0:
            self.notices.append(f"{key} answers again")

    def failed(self, now: float, key: str, account: str, words: str) -> None:
        """A job failed there, for the reason `words`. Where the service is to blame, it is left alone from now on."""
        trouble = self.by_key.setdefault(key, _Circuit())
        if len(trouble.accounts) < ACCOUNTS:
            trouble.accounts.add(account)
        if len(trouble.accounts) < ACCOUNTS:
            return
        if trouble.rest_s and not trouble.probing:  # one of those that were under way when it went out
            return
        trouble.probing = False
        trouble.rest_s = trouble.backoff.next()
        trouble.until = now + trouble.rest_s
        what = f"{key} failed for {ACCOUNTS} accounts in a row"
        self.notices.append(f"{what}, and is left alone for {trouble.rest_s:g} s: {words}")

    def spares(self, key: str) -> bool:
        """Whether a failure there now is the service's, and costs its job no try."""
        trouble = self.by_key.get(key)
        return trouble is not None and trouble.rest_s > 0 and not trouble.probing

    def room(self, now: float, key: str) -> int | None:
        """How many jobs may be handed out for it: None for any number. The one that may try counts once asked for."""
        trouble = self.by_key.get(key)
        if trouble is None or not trouble.rest_s:
            return None
        return 1 if now >= trouble.until else 0

    def tried(self, now: float, key: str) -> None:
        """The one job that may try is on its way; if nothing is heard of it, another may after the same while."""
        trouble = self.by_key.get(key)
        if trouble is not None and trouble.rest_s:
            trouble.probing, trouble.until = True, now + trouble.rest_s
