"""The interface of a world: accounts, follower relations, and posts. Worlds are independent of HTTP, limits and faults.

A world is static: the same arguments give the same bytes in every process and at any time. Lists are newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

VISIBLE_POSTS = 3200
"""The service shows the newest 3,200 posts of an account and no others."""

Facts = dict[str, int | str | dict[str, int]]
"""The description of a world under `/_truth/world`."""


class AccountState(Enum):
    """The state of an account. All but `DELETED` and `SUSPENDED` have a readable profile."""

    PUBLIC = "public"
    PROTECTED = "protected"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `posts` counts the visible ones (0 to 3,200); `place` is the world's own index of the account."""

    id: int
    state: AccountState
    posts: int
    place: int


@dataclass(frozen=True, slots=True)
class Style:
    """How posts are serialised: `extended` has `full_text` for `text`, `trim_user` only the author's id; and whether
    reposts and replies are included; a page without them is shorter."""

    extended: bool = False
    trim_user: bool = False
    reposts: bool = True
    replies: bool = True


class World(Protocol):
    """The interface that the service uses. Positions in lists start at 0, at the newest."""

    def facts(self) -> Facts:
        """The world in a few figures, for `/_truth/world`."""

    def ids(self, start: int, count: int) -> list[int]:
        """Ids of all accounts in ascending order, `count` of them from position `start`."""

    def find(self, user: int) -> Account | None:
        """The account with this id; None if it never existed. A deleted account is found."""

    def find_name(self, name: str) -> Account | None:
        """The account with this screen name, ignoring case."""

    def follower_count(self, account: Account) -> int:
        """How many followers the account has."""

    def followers(self, account: Account, start: int, count: int) -> Sequence[int]:
        """Ids of the followers of the account."""

    def friend_count(self, account: Account) -> int:
        """How many accounts the account follows."""

    def friends(self, account: Account, start: int, count: int) -> Sequence[int]:
        """Ids of the accounts that the account follows."""

    def profile(self, account: Account) -> bytes:
        """The account's profile, one JSON object without line breaks."""

    def locate(self, account: Account, post: int) -> int:
        """The position of the newest visible post with an id of at most `post`; `account.posts` if there is none."""

    def posts(self, account: Account, start: int, stop: int, style: Style) -> list[bytes]:
        """The posts from position `start` up to `stop` in the given style, each one JSON object without line breaks."""

    def post_ids(self, account: Account) -> list[int]:
        """The ids of all visible posts."""
