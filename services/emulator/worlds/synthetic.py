"""A social graph of any size that stores no edges.

Accounts are arranged in a ring. One sequence of distinct steps is used for the whole world: an account with d followers
is followed by the accounts at its first d steps. So a follower list can be read from any position, the friends of an
account are the accounts that reach it by a step below their own d, no list contains an account twice, and a million
accounts take about twenty bytes each.

In-degrees are drawn from a power law with the exponent 2.28 from `MIN_FOLLOWERS` on (by the method of Newman, "Power
laws, Pareto distributions and Zipf's law"); a tenth of the accounts have fewer. A step next to its opposite in the
sequence creates mutual pairs; so many do that 22 % of the connected pairs are mutual.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate, repeat
from operator import sub
from random import Random

from services.emulator.worlds.authors import NEWEST_MS, SNOWFLAKE_EPOCH_MS
from services.emulator.worlds.bitplanes import Planes
from services.emulator.worlds.hashing import digest64, mix
from services.emulator.worlds.seeded import SeededWorld
from services.emulator.worlds.world import Account, AccountState, Facts

EXPONENT = 2.28
MUTUAL_SHARE = 0.22
MIN_FOLLOWERS = 6
HUB_FOLLOWERS = 20_000
"""The first account has at least this many, or half the world if that is less."""
MIN_USERS, MAX_USERS = 10, 50_000_000
_FEW_SHARE = 0.1
_FIRST_ID = 12
_CLASSIC_SPAN = 3_000_000_000
_SNOWFLAKE_SHARE = 4
_FIRST_SNOWFLAKE_MS = 1_366_000_000_000
_PER_MILLE = ((50, AccountState.PROTECTED), (70, AccountState.SUSPENDED), (90, AccountState.DELETED))


class SyntheticWorld(SeededWorld):
    """`users` accounts from a seed, the newest quarter with 64-bit ids; 5 % protected, 2 % suspended, 2 % deleted."""

    def __init__(self, users: int, seed: int) -> None:
        self._users = users
        self._seed = seed
        draw = Random(digest64("world", seed, users)).random
        ids = _draw_ids(users, draw)
        super().__init__(ids, seed, [ids[int(draw() * users)] for _ in range(500)])
        self._degrees = _draw_degrees(users, draw)
        self._steps = _draw_steps(users, self._degrees, draw)
        self._order = array("i", [-1]) * users
        for number, step in enumerate(self._steps):
            self._order[step] = number
        self._near, self._hubs = self._split()
        self._friend_counts = self._count_friends()
        self._friend_places = lru_cache(maxsize=64)(self._find_friends)
        self._state_key = digest64("state", seed)

    def facts(self) -> Facts:
        states = Counter(self.state(place).value for place in range(self._users))
        return {
            "kind": "synthetic",
            "seed": self._seed,
            "accounts": self._users,
            "edges": sum(self._degrees),
            "states": dict(states),
            "largest": self._ids[max(range(self._users), key=self._degrees.__getitem__)],
            "most_followers": max(self._degrees),
        }

    def state(self, place: int) -> AccountState:
        draw = mix(self._state_key ^ place) % 1000 if place else 999
        return next((state for bound, state in _PER_MILLE if draw < bound), AccountState.PUBLIC)

    def follower_count(self, account: Account) -> int:
        return self._degrees[account.place]

    def followers(self, account: Account, start: int, count: int) -> Sequence[int]:
        # The last step is the newest follower. A negative index counts from the end of the ring, as intended.
        top = self._degrees[account.place] - start
        origin = account.place - self._users
        return [self._ids[origin + step] for step in reversed(self._steps[max(0, top - count) : max(0, top)])]

    def friend_count(self, account: Account) -> int:
        return self._friend_counts[account.place]

    def friends(self, account: Account, start: int, count: int) -> Sequence[int]:
        return [self._ids[place] for place in self._friend_places(account.place)[start : start + count]]

    def _degrees_behind(self, place: int) -> map[int]:
        """The in-degrees of the accounts that this account would follow by each of the near steps, in order."""
        return map(self._degrees.__getitem__, map(sub, repeat(place), self._steps[: self._near]))

    def _following_hubs(self, place: int) -> list[tuple[int, int]]:
        """(step number, hub) for each hub that this account follows by a far step."""
        order, near = self._order, self._near
        return [(order[place - hub], hub) for hub, degree in self._hubs if near <= order[place - hub] < degree]

    def _find_friends(self, place: int) -> array[int]:
        found = self._following_hubs(place)
        found += [
            (number, (place - self._steps[number]) % self._users)
            for number, degree in enumerate(self._degrees_behind(place))
            if number < degree
        ]
        found.sort(reverse=True)
        return array("i", [friend for _, friend in found])

    def _count_friends(self) -> array[int]:
        """The friend count of each account: near steps for all accounts at once, far ones hub by hub."""
        rising = sorted(range(self._users), key=self._degrees.__getitem__)
        members = bytearray(b"\xff" * (self._users // 8 + 1))
        planes = Planes(self._users)
        gone = 0
        everyone = (1 << self._users) - 1
        for number, step in enumerate(self._steps[: self._near]):
            while gone < self._users and self._degrees[rising[gone]] <= number:
                members[rising[gone] >> 3] &= ~(1 << (rising[gone] & 7))
                gone += 1
            planes.add_turned(int.from_bytes(members, "little") & everyone, step)
        counts = planes.totals()
        for hub, degree in self._hubs:
            origin = hub - self._users
            for step in self._steps[self._near : degree]:
                counts[origin + step] += 1
        return counts

    def _split(self) -> tuple[int, list[tuple[int, int]]]:
        """The step number below which to iterate over steps, and the accounts to check one by one: cheapest cut."""
        largest = sorted(self._degrees, reverse=True)
        near = min(range(len(self._steps) + 1), key=lambda cut: cut + 2 * _above(largest, cut)) if self._users else 0
        return near, [(place, degree) for place, degree in enumerate(self._degrees) if degree > near]


def _above(falling: list[int], bound: int) -> int:
    """How many items of a descending list are above the bound."""
    low, high = 0, len(falling)
    while low < high:
        middle = (low + high) // 2
        if falling[middle] > bound:
            low = middle + 1
        else:
            high = middle
    return low


def _draw_ids(users: int, draw: Callable[[], float]) -> array[int]:
    """Ascending ids: three quarters spread over 32 bits, then 64-bit snowflakes."""
    classic = users - users // _SNOWFLAKE_SHARE
    stride = _CLASSIC_SPAN // classic
    ids = array("q", accumulate((1 + int(draw() * (2 * stride - 1)) for _ in range(classic - 1)), initial=_FIRST_ID))
    snowflakes = users - classic
    gap_ms = (NEWEST_MS - 90 * 86_400_000 - _FIRST_SNOWFLAKE_MS) // max(snowflakes, 1)
    for number in range(snowflakes):
        made_ms = _FIRST_SNOWFLAKE_MS + number * gap_ms - SNOWFLAKE_EPOCH_MS
        ids.append(made_ms << 22 | int(draw() * (1 << 22)))
    return ids


def _draw_degrees(users: int, draw: Callable[[], float]) -> array[int]:
    most = (users - 1) // 2 * 2
    most = min(most, max(users // 4, int(1.25 * HUB_FOLLOWERS)))
    power = -1 / (EXPONENT - 1)
    least = MIN_FOLLOWERS - 0.5
    degrees = array("i", bytes(4 * users))
    for place in range(users):
        if draw() < _FEW_SHARE:
            degrees[place] = min(most, int(draw() * MIN_FOLLOWERS))
        else:
            degrees[place] = min(most, int(least * (1 - draw()) ** power + 0.5))
    degrees[0] = max(degrees[0], min(HUB_FOLLOWERS, users // 2, most))
    return degrees


def _draw_steps(users: int, degrees: array[int], draw: Callable[[], float]) -> array[int]:
    """Distinct steps in 1 … users − 1, as many as the largest degree; pairs of opposites where mutuality needs them."""
    most = max(degrees)
    reach = _share_above(degrees, most)
    connections = sum(reach)
    wanted = connections * MUTUAL_SHARE / (1 + MUTUAL_SHARE)
    possible = sum(reach[number] * reach[number + 1] for number in range(0, most - 1, 2))
    rate = min(1.0, wanted / possible) if possible else 0.0
    sizes = iter(sorted(range(1, (users - 1) // 2 + 1), key=lambda _: draw()))
    steps = array("i")
    opposites: list[int] = []
    met = passed = 0.0
    for number in range(0, most, 2):
        size = next(sizes, None)
        if size is None:
            break
        gain = reach[number] * reach[number + 1]
        passed += gain
        if met + gain / 2 <= rate * passed:
            met += gain
            steps.extend((size, users - size))
            continue
        steps.append(size)
        opposites.append(users - size)
        other = next(sizes, None)
        if other is not None:
            steps.append(other)
            opposites.append(users - other)
    steps.extend(opposites)
    return steps[:most]


def _share_above(degrees: array[int], most: int) -> list[float]:
    """For each step number up to `most`: the share of accounts whose degree is above it."""
    counts = Counter(degrees)
    shares = []
    above = len(degrees)
    for number in range(most + 1):
        above -= counts[number]
        shares.append(above / len(degrees))
    return shares
