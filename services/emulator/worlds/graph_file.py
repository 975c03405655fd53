"""A world from an edge list: `follower<TAB>followed` a line, plain or gzip, `#` comments.

Every account in the file is public and has a timeline from the seed. Lists are newest first, as in the service: the
reverse of the order in the file. Duplicate lines count once. Edges are stored in flat arrays, 8 bytes each.
"""

from __future__ import annotations

import gzip
import re
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from protocol.errors import UsageError
from protocol.numbers import MAX_INT64, whole_number
from services.emulator.worlds.lists import Lists
from services.emulator.worlds.seeded import SeededWorld
from services.emulator.worlds.world import Account, AccountState, Facts

_CHUNK_BYTES = 1 << 20
_MAX_LINE_BYTES = 4096
_GZIP_MAGIC = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"
"""The byte order mark that some editors put before a UTF-8 text."""
_PLAIN = re.compile(rb"(?:[0-9]{1,19}+\t[0-9]{1,19}+\n)++")
"""A block without comments and errors, the usual case, which is parsed in one go."""


class GraphWorld(SeededWorld):
    """The accounts and edges of a file. Raises `UsageError` that names the line that cannot be read."""

    def __init__(self, path: Path, seed: int) -> None:
        places: dict[int, int] = {}
        sources, targets = array("I"), array("I")
        for numbers in _numbers(path):
            ends = array("I", [places.setdefault(number, len(places)) for number in numbers])
            sources.extend(ends[0::2])
            targets.extend(ends[1::2])
        if not places:
            raise UsageError(f"{path} holds no edges; a line is follower<TAB>followed.")
        ids = array("q", sorted(places))
        rank = array("I", bytes(4 * len(ids)))
        for place, number in enumerate(ids):
            rank[places[number]] = place
        sources = array("I", map(rank.__getitem__, sources))
        targets = array("I", map(rank.__getitem__, targets))
        super().__init__(ids, seed, ids[:500])
        self._path = path
        self._seed = seed
        self._followers = Lists(len(ids), targets, sources)
        self._friends = Lists(len(ids), sources, targets)

    def facts(self) -> Facts:
        return {
            "kind": "graph",
            "file": self._path.name,
            "seed": self._seed,
            "accounts": len(self._ids),
            "edges": self._followers.total,
            "states": {AccountState.PUBLIC.value: len(self._ids)},
        }

    def state(self, place: int) -> AccountState:
        return AccountState.PUBLIC

    def follower_count(self, account: Account) -> int:
        return self._followers.length(account.place)

    def followers(self, account: Account, start: int, count: int) -> Sequence[int]:
        return [self._ids[place] for place in self._followers.part(account.place, start, count)]

    def friend_count(self, account: Account) -> int:
        return self._friends.length(account.place)

    def friends(self, account: Account, start: int, count: int) -> Sequence[int]:
        return [self._ids[place] for place in self._friends.part(account.place, start, count)]


def _numbers(path: Path) -> Iterator[list[int]]:
    """The numbers of the file, two per line, in blocks of whole lines."""
    line_number = 0
    for block in _blocks(path):
        lines = block.count(b"\n")
        if _PLAIN.fullmatch(block):
            numbers = list(map(int, block.split()))
            if max(numbers) <= MAX_INT64:
                yield numbers
                line_number += lines
                continue
        yield list(_numbers_by_line(path, block, line_number))
        line_number += lines


def _numbers_by_line(path: Path, block: bytes, before: int) -> Iterator[int]:
    for number, line in enumerate(block.splitlines(), before + 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        if len(words) != 2 or any(whole_number(word, MAX_INT64) is None for word in words):
            shown = line[:40].decode(errors="replace")
            raise UsageError(f"{path}, line {number}: expected two account ids, follower<TAB>followed, got {shown!r}.")
        yield from map(int, words)


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in blocks of whole lines, decompressed if it is gzip; a missing last newline is added."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            rest = b""
            first = file.read(_CHUNK_BYTES).removeprefix(_MARK)
            for chunk in chain((first,), iter(lambda: file.read(_CHUNK_BYTES), b"")):
                head, newline, tail = chunk.rpartition(b"\n")
                if newline:
                    yield rest + head + newline
                    rest = tail
                else:
                    rest += chunk
                if len(rest) > _MAX_LINE_BYTES:
                    raise UsageError(f"{path} has a line of more than {_MAX_LINE_BYTES} bytes: no edge list.")
            if rest:
                yield rest + b"\n"
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"cannot read the graph {path}: {error}.") from error
