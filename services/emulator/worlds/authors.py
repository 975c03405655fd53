"""The seeded accounts: name, language, age, and the ids and times of their posts, all derived from seed and id."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from statistics import NormalDist

from services.emulator.worlds import words
from services.emulator.worlds.encoding import base36
from services.emulator.worlds.hashing import GOLDEN, MASK64, digest64, mix

SNOWFLAKE_EPOCH_MS = 1_288_834_974_657
"""Post ids are (milliseconds since this instant) · 2^22 + 22 bits of machine and sequence."""
NEWEST_MS = 1_672_531_200_000
"""No seeded post is newer than 2023-01-01: worlds are static."""
OLDEST_MS = 1_293_840_000_000
"""No visible post is older than 2011-01-01, when ids had become snowflakes."""
FIRST_ACCOUNT_MS = 1_143_000_000_000
MEDIAN_POSTS = 60
_SPREAD = 1.6
_MAX_POSTS = 40_000
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Author:
    """The properties that the seed gives an account. `statuses` may exceed the 3,200 visible ones; times are in ms."""

    id: int
    key: int
    language: str
    statuses: int
    created_ms: int
    newest_ms: int
    gap_ms: int

    def post_id(self, position: int) -> int:
        """The id of the post at a position; decreases as the position increases."""
        return self.post_ms(position) - SNOWFLAKE_EPOCH_MS << 22 | mix(self.key ^ position) & 0x3FFFFF

    def post_ms(self, position: int) -> int:
        """When the post at a position was written."""
        return self.newest_ms - position * self.gap_ms - mix(self.key + position * GOLDEN & MASK64) % self.gap_ms

    def locate(self, post: int, visible: int) -> int:
        """The first of `visible` positions whose post has an id of at most `post`, else `visible`."""
        written_ms = (post >> 22) + SNOWFLAKE_EPOCH_MS
        position = min(visible, max(0, (self.newest_ms - written_ms) // self.gap_ms - 2))
        while position < visible and self.post_id(position) > post:
            position += 1
        return position


def author(seed: int, user: int) -> Author:
    """The properties that a seed gives an account."""
    key = digest64("author", seed, user)
    draw = mix(key) % 100
    language = next(name for name, bound in words.LANGUAGE_SHARES if draw < bound)
    created_ms = FIRST_ACCOUNT_MS + mix(key + 1) % (NEWEST_MS - 90 * 86_400_000 - FIRST_ACCOUNT_MS)
    if user >= 1 << 40:
        created_ms = min((user >> 22) + SNOWFLAKE_EPOCH_MS, NEWEST_MS - 86_400_000)
    statuses = 0
    if mix(key + 2) % 100 >= 3:
        drawn = _NORMAL.inv_cdf((mix(key + 3) + 1) / (MASK64 + 3))
        statuses = min(_MAX_POSTS, round(MEDIAN_POSTS * exp(_SPREAD * drawn)))
    began_ms = max(created_ms, OLDEST_MS)
    newest_ms = NEWEST_MS - mix(key + 4) % ((NEWEST_MS - began_ms) // 4)
    gap_ms = max(1, (newest_ms - began_ms) // max(statuses, 1))
    return Author(user, key, language, statuses, created_ms, newest_ms, gap_ms)


def screen_name(user: int) -> str:
    """The screen name of an account, at most 15 characters; `user_of` decodes the id from it."""
    tail = "_" + base36(user)
    first = words.FIRST_NAMES[mix(user) % len(words.FIRST_NAMES)]
    plain = first.encode("ascii", "ignore").decode()
    return plain[: 15 - len(tail)] + tail


def user_of(name: str) -> int | None:
    """The id of the account with this screen name, ignoring case, or None."""
    tail = name.rpartition("_")[2]
    if not (0 < len(tail) < 14 and tail.isascii() and tail.isalnum()):
        return None
    user = int(tail, 36)
    return user if screen_name(user).lower() == name.lower() else None
