"""The common base of the synthetic and the graph world: accounts in an array of ids, profiles and posts from a seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Sequence

from services.emulator.worlds.authors import user_of
from services.emulator.worlds.posts import Pen
from services.emulator.worlds.world import VISIBLE_POSTS, Account, AccountState, Facts, Style


class SeededWorld(ABC):
    """A world whose accounts are `ids` (ascending); subclasses differ only in states and lists."""

    def __init__(self, ids: array[int], seed: int, mentioned: Sequence[int]) -> None:
        self._ids = ids
        self._pen = Pen(seed, mentioned, self._shown)

    def ids(self, start: int, count: int) -> list[int]:
        return self._ids[start : start + count].tolist()

    def find(self, user: int) -> Account | None:
        place = bisect_left(self._ids, user)
        if place == len(self._ids) or self._ids[place] != user:
            return None
        return self._account(place)

    def find_name(self, name: str) -> Account | None:
        user = user_of(name)
        return None if user is None else self.find(user)

    def _account(self, place: int) -> Account:
        user = self._ids[place]
        return Account(user, self.state(place), min(VISIBLE_POSTS, self._pen.author(user).statuses), place)

    def _shown(self, user: int) -> tuple[bytes, int] | None:
        account = self.find(user)
        if account is None or account.state is not AccountState.PUBLIC:
            return None
        return self.profile(account), account.posts

    def profile(self, account: Account) -> bytes:
        return self._pen.profile(account.id, account.state, self.follower_count(account), self.friend_count(account))

    def locate(self, account: Account, post: int) -> int:
        return self._pen.author(account.id).locate(post, account.posts)

    def posts(self, account: Account, start: int, stop: int, style: Style) -> list[bytes]:
        profile = b"" if style.trim_user else self.profile(account)
        return self._pen.posts(self._pen.author(account.id), start, min(stop, account.posts), style, profile)

    def post_ids(self, account: Account) -> list[int]:
        author = self._pen.author(account.id)
        return [author.post_id(position) for position in range(account.posts)]

    @abstractmethod
    def facts(self) -> Facts:
        """The world in a few figures."""

    @abstractmethod
    def state(self, place: int) -> AccountState:
        """The state of the account at a place."""

    @abstractmethod
    def follower_count(self, account: Account) -> int:
        """How many followers the account has."""

    @abstractmethod
    def followers(self, account: Account, start: int, count: int) -> Sequence[int]:
        """Ids of the followers of the account."""

    @abstractmethod
    def friend_count(self, account: Account) -> int:
        """How many accounts the account follows."""

    @abstractmethod
    def friends(self, account: Account, start: int, count: int) -> Sequence[int]:
        """Ids of the accounts that the account follows."""
