"""The window of a budget, by what the service says of it: late, out of order, by a clock that is set, or now and then
wrong. Workers and masters keep one for each budget, and by the same rules. No clock, no I/O.

A word names its window by the reset time as the service wrote it, and says how long it lasts from now. The names tell
a later window from an earlier one while the service's clock runs on; how long it lasts is true whatever that clock
shows, but an upper bound: seconds are rounded, and answers take their time.

| while a window runs, a word | then |
|---|---|
| of that name | the lower of what is left, the earlier end |
| of a name that it had, or of the window whose place it took (the service began anew) | the lower of what is left |
| that ends well before it | it is of a window that is over, or one of the two is wrong: rest until it ends |
| of a later name that ends well after it | that window has begun |
| else (a reset that jitters, a clock that was set) | the lower of what is left, the later end |

| while none runs, a word | then |
|---|---|
| of the last one's name that ends with it | rest until it ends |
| else, whatever its name | that window has begun |

So no word is ever without effect. When a window is over by our clock the whole limit is there again. A rest holds back
everything until it is over, whatever else is known, and changes nothing else: after it, no window that it was for can
run any more. `MAX_WINDOW_MS` bounds every rest and every window.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.records import BudgetReport

MAX_WINDOW_MS = 31 * 86_400 * 1000
"""No window lasts longer: a word that says so is not believed at all."""
SAME_S = 2.0
"""Ends that differ by less may be the same: a service's times are whole seconds, and jitter by one."""


@dataclass(slots=True)
class Window:
    """What is known of a budget. Times are seconds of the caller's monotonic clock.

    `former` is the name that this window had, or that of the one whose place it took before its end; 0 for none.
    `ends_at` is None while no window runs; the last one was over at `over_at`.
    """

    limit: int | None = None
    remaining: int | None = None
    name: int = 0
    former: int = 0
    ends_at: float | None = None
    over_at: float = float("-inf")
    rests_until: float = float("-inf")

    def hear(self, now: float, said: BudgetReport, latency: float = 0.0) -> bool:
        """Take in a word of the service, which it may have said so long ago. Returns whether a later window began while
        one ran."""
        self.pass_time(now)
        end = now + said.reset_in_ms / 1000
        surely = end - latency - SAME_S
        if self.ends_at is None:
            if said.window == self.name and surely <= self.over_at:
                self.rest(end)
            else:
                self._begin(said, end, former=0)
        elif end < self.ends_at - SAME_S and said.window not in (self.name, self.former):
            self.rest(end)
        elif surely > self.ends_at and said.window > self.name + SAME_S:
            self._begin(said, end, former=self.name)
            return True
        else:
            same = said.window == self.name and surely <= self.ends_at
            self.ends_at = min(self.ends_at, end) if same else max(self.ends_at, end)
            if said.window > self.name:  # words of the name that it had may still come
                self.name, self.former = said.window, self.name
            assert self.limit is not None and self.remaining is not None
            self.limit, self.remaining = min(self.limit, said.limit), min(self.remaining, said.remaining)
        return False

    def rest(self, until: float) -> None:
        """Hold everything back until then."""
        self.rests_until = max(self.rests_until, until)

    def resting(self, now: float) -> bool:
        """Whether a rest is not over."""
        return now < self.rests_until

    def pass_time(self, now: float) -> None:
        """A window that is over leaves the whole limit."""
        if now >= self.rests_until:
            self.rests_until = float("-inf")
        if self.ends_at is not None and now >= self.ends_at:
            self.remaining, self.over_at, self.ends_at = self.limit, self.ends_at, None

    @property
    def resets_at(self) -> float | None:
        """When the window that runs is over, and the last rest; None when neither was heard of."""
        ends = self.rests_until if self.ends_at is None else max(self.ends_at, self.rests_until)
        return None if ends == float("-inf") else ends

    def _begin(self, said: BudgetReport, end: float, *, former: int) -> None:
        self.limit, self.remaining = said.limit, min(said.limit, said.remaining)
        self.name, self.former, self.ends_at = said.window, former, end
