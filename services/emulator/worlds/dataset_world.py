"""A world from a directory of `.twt`, `.fws` and `.inf` files, as the crawler writes them, plain or gzip.

Posts are served as stored, or converted to the other form on request; a text that was stored truncated remains so.
Follower lists are served as stored. A profile is the one stored in an `.inf` file, else the one inside the account's
newest post, else one generated from the seed. Every account in the files is public. Only numeric ids are served; other
files are skipped and counted in `/_truth/world`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from protocol.errors import UsageError
from protocol.numbers import MAX_INT64, whole_number
from services.emulator.api.forms import in_style
from services.emulator.worlds.encoding import dumps
from services.emulator.worlds.lists import Lists
from services.emulator.worlds.posts import Pen
from services.emulator.worlds.world import VISIBLE_POSTS, Account, AccountState, Facts, Style

_MAX_FILE_BYTES = 1 << 30
_Record = dict[str, object]


class DatasetWorld:
    """The accounts of a dataset. Raises `UsageError` that names the file that cannot be read."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._left_aside = 0
        self._timelines = dict(self._files(".twt"))
        self._profile_files = [path for _, path in sorted(self._files(".inf"))]
        lists = {user: _follower_ids(path) for user, path in self._files(".fws")}
        if not self._timelines and not lists:
            raise UsageError(f"{directory} holds no .twt and no .fws file with a numeric name; is it a dataset?")
        self._ids = array("q", sorted(set(self._timelines).union(lists, *lists.values())))
        owners, members = array("I"), array("I")
        for user in sorted(lists):
            places = array("I", [self._place(follower) for follower in reversed(lists[user])])
            owners.extend(array("I", [self._place(user)]) * len(places))
            members.extend(places)
        self._followers = Lists(len(self._ids), owners, members)
        self._friends = Lists(len(self._ids), members, owners)
        self._pen = Pen(seed, self._ids[:500])
        self._posts = lru_cache(maxsize=64)(self._read_posts)
        self._post_counts: dict[int, int] = {}
        self._profile_places: dict[int, tuple[int, int]] | None = None
        self._profile_lines = lru_cache(maxsize=8)(self._read_profile_file)
        self._names: dict[str, int] | None = None

    def _files(self, suffix: str) -> Iterator[tuple[int, Path]]:
        for path in sorted(self._directory.glob(f"[!.]*/*{suffix}")):
            number = whole_number(path.stem, MAX_INT64)
            if number is None:
                self._left_aside += 1
            else:
                yield number, path

    def _place(self, user: int) -> int:
        return bisect_left(self._ids, user)

    def facts(self) -> Facts:
        return {
            "kind": "dataset",
            "directory": self._directory.name,
            "accounts": len(self._ids),
            "edges": self._followers.total,
            "timelines": len(self._timelines),
            "left_aside": self._left_aside,
            "states": {AccountState.PUBLIC.value: len(self._ids)},
        }

    def ids(self, start: int, count: int) -> list[int]:
        return self._ids[start : start + count].tolist()

    def find(self, user: int) -> Account | None:
        place = self._place(user)
        if place == len(self._ids) or self._ids[place] != user:
            return None
        if user in self._timelines and user not in self._post_counts:
            self._post_counts[user] = len(self._posts(user)[0])
        return Account(user, AccountState.PUBLIC, self._post_counts.get(user, 0), place)

    def find_name(self, name: str) -> Account | None:
        if self._names is None:
            self._names = {}
            for user in self._ids:
                record = json.loads(self.profile(Account(user, AccountState.PUBLIC, 0, self._place(user))))
                self._names.setdefault(str(record.get("screen_name", "")).lower(), user)
        named = self._names.get(name.lower())
        return None if named is None else self.find(named)

    def follower_count(self, account: Account) -> int:
        return self._followers.length(account.place)

    def followers(self, account: Account, start: int, count: int) -> Sequence[int]:
        return [self._ids[place] for place in self._followers.part(account.place, start, count)]

    def friend_count(self, account: Account) -> int:
        return self._friends.length(account.place)

    def friends(self, account: Account, start: int, count: int) -> Sequence[int]:
        return [self._ids[place] for place in self._friends.part(account.place, start, count)]

    def profile(self, account: Account) -> bytes:
        if self._profile_places is None:
            self._profile_places = self._index_profiles()
        found = self._profile_places.get(account.id)
        if found is not None:
            return self._profile_lines(found[0])[found[1]]
        if account.id in self._timelines:
            lines = self._posts(account.id)[1]
            author = json.loads(lines[0]).get("user") if lines else None
            if isinstance(author, dict) and author.get("screen_name"):
                return dumps(author)
        return self._pen.profile(account.id, account.state, self.follower_count(account), self.friend_count(account))

    def locate(self, account: Account, post: int) -> int:
        if account.id not in self._timelines:
            return 0
        return bisect_left(self._posts(account.id)[0], -post, key=int.__neg__)

    def posts(self, account: Account, start: int, stop: int, style: Style) -> list[bytes]:
        lines = self._posts(account.id)[1][start:stop] if account.id in self._timelines else []
        return list(filter(None, (in_style(line, style) for line in lines)))

    def post_ids(self, account: Account) -> list[int]:
        return self._posts(account.id)[0].copy() if account.id in self._timelines else []

    def _read_posts(self, user: int) -> tuple[list[int], list[bytes]]:
        """The visible posts of a file, newest first: their ids and their lines."""
        lines = {_record_id(record): line for line, record in _records(self._timelines[user])}
        ids = sorted(lines, reverse=True)[:VISIBLE_POSTS]
        return ids, [lines[post] for post in ids]

    def _read_profile_file(self, number: int) -> list[bytes]:
        return [line for line, _ in _records(self._profile_files[number])]

    def _index_profiles(self) -> dict[int, tuple[int, int]]:
        places: dict[int, tuple[int, int]] = {}
        for number, path in enumerate(self._profile_files):
            for line_number, (_, record) in enumerate(_records(path)):
                places.setdefault(_record_id(record), (number, line_number))
        return places


def _follower_ids(path: Path) -> array[int]:
    ids = array("q")
    for number, line in enumerate(_lines(path), 1):
        identifier = whole_number(line, MAX_INT64)
        if identifier is None:
            shown = line[:40].decode(errors="replace")
            raise UsageError(f"{path}, line {number}: expected an account id, got {shown!r}.")
        ids.append(identifier)
    return ids


def _records(path: Path) -> Iterator[tuple[bytes, _Record]]:
    """The objects of a file of JSON lines, each with its line. A line that is not an object with an id is skipped."""
    for line in _lines(path):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and (record.get("id_str") or record.get("id")):
            yield line, record


def _record_id(record: _Record) -> int:
    return whole_number(str(record.get("id_str") or record.get("id")), 10**19 - 1) or 0


def _lines(path: Path) -> list[bytes]:
    """The lines of a file without newlines and empty lines, decompressed if it is gzip."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"cannot read {path}: {error}.") from error
    if len(content) > _MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than {_MAX_FILE_BYTES >> 30} GiB unpacked, more than the emulator reads.")
    return [line for line in content.split(b"\n") if line]
