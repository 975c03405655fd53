"""Faults on demand. Whether a request meets one is a function of (seed, request, try), so every run is the same.

The identity of a request is its path and sorted parameters without credentials. The try is the number of the attempt
with that identity; tries are remembered for at most `_MAX_TRIES` identities, and further requests meet no fault.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.errors import UsageError
from services.emulator.worlds.hashing import digest64, share

KINDS = ("http500", "http503", "reset", "truncate", "slow", "repeat_cursor", "short_page")
"""`http500` and `http503` answer with that status; `reset` resets the connection in the middle of the response;
`truncate` closes it before the Content-Length; `slow` delays the response; `repeat_cursor` returns the requested cursor
as the next one; `short_page` leaves the tail of a page to the next one."""
OPTIONS = ("slow_s", "retry_after")
"""Parameters of the faults, in seconds: the delay of a slow response, and the Retry-After of 503 and 429."""
SLOW_S = (0.2, 2.0)
"""The range of the delay in seconds, if `slow_s` is not given."""
_MAX_TRIES = 2_000_000
_NO_FAULTS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FaultRates:
    """The share of requests that meet each fault, 0 to 1; `slow_s` is the range of the delay of `slow`; `retry_after_s`
    is the Retry-After of refusals, 0 if they have none."""

    rates: dict[str, float] = field(default_factory=dict)
    slow_s: tuple[float, float] = SLOW_S
    retry_after_s: int = 0


def parse_faults(text: str) -> FaultRates:
    """Parse `http500=0.02,slow=0.05,slow_s=0.5`. Raises `UsageError` with a sentence that describes the error."""
    rates: dict[str, float] = {}
    slow_s, retry_after_s = SLOW_S, 0
    for item in filter(None, text.split(",")):
        name, _, number = item.partition("=")
        if name not in (*KINDS, *OPTIONS):
            raise UsageError(f"--faults knows {', '.join((*KINDS, *OPTIONS))}, not {name!r}.")
        try:
            value = float(number)
        except ValueError:
            raise UsageError(f"--faults {name} needs a number, not {number!r}.") from None
        if name == "slow_s":
            if not 0 <= value <= 600:
                raise UsageError(f"--faults slow_s is in seconds, 0 to 600, not {number}.")
            slow_s = (value, value)
        elif name == "retry_after":
            if not 1 <= value <= 86_400 or value != int(value):
                raise UsageError(f"--faults retry_after is in whole seconds, 1 to 86400, not {number}.")
            retry_after_s = int(value)
        elif 0 <= value <= 1:
            rates[name] = value
        else:
            raise UsageError(f"--faults {name} is a rate from 0 to 1, not {number}.")
    return FaultRates(rates, slow_s, retry_after_s)


@dataclass(frozen=True, slots=True)
class Trial:
    """The faults that one try of one request meets."""

    kinds: frozenset[str] = _NO_FAULTS
    wait_s: float = 0.0
    draw: int = 0

    def shortened(self, length: int) -> int:
        """How many of `length` items a page contains: all of them, or with `short_page` at least one and not all."""
        if "short_page" not in self.kinds or length < 2:
            return length
        return 1 + self.draw % (length - 1)


SOUND = Trial()
"""A try without any fault."""


class Faults:
    """Decides which faults occur, and remembers how often each identity was tried."""

    def __init__(self, rates: FaultRates, seed: int) -> None:
        self._rates = {kind: rate for kind, rate in rates.rates.items() if rate > 0}
        self._slow_s = rates.slow_s
        self._seed = seed
        self._tries: dict[int, int] = {}

    def meet(self, identity: str) -> Trial:
        """The faults of the next try of this identity."""
        if not self._rates:
            return SOUND
        key = digest64(self._seed, identity)
        number = self._tries.get(key, 0)
        if number == 0 and len(self._tries) >= _MAX_TRIES:
            return SOUND
        self._tries[key] = number + 1
        kinds = frozenset(kind for kind, rate in self._rates.items() if share(kind, key, number) < rate)
        if not kinds:
            return SOUND
        least, most = self._slow_s
        wait_s = least + (most - least) * share("wait", key, number) if "slow" in kinds else 0.0
        return Trial(kinds, wait_s, digest64("draw", key, number))

    def clear(self) -> None:
        """Forget all tries: the next run meets the same faults as the first."""
        self._tries.clear()
