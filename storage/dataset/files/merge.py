"""The union of a job's pages with the stored file: a pure function over rows of members.

Rules:

- a timeline whose ids are all numbers is in descending order, newest first; of two versions the fresh one is kept;
- any other file has the fresh records in the order of the stored pages, each id at its first occurrence, and then
  the remaining old records;
- a member that overlaps no other is copied unchanged, and never decompressed for a timeline;
- in a file of more than 64 members, neighbours are joined into larger ones of at most 16 MiB of text.

The function is deterministic and idempotent: the output merged with the same fresh rows again is itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise

from protocol.errors import MalformedError
from storage.dataset.files.gzip_members import Chunk
from storage.dataset.interface import Counts, RecordKind, record_id

MAX_MEMBERS = 64
"""The members of a file with more are joined into larger ones."""

JOINED_BYTES = 16 << 20
"""Bytes of text of a joined member, at most."""

_REWRITTEN_BYTES = 1 << 20
"""Bytes of text of a member that is rewritten for an overlap; small, so that the next overlap costs little."""

Lines = list[tuple[str, bytes]]
"""Records that must be rewritten: id and line."""

Piece = Chunk | Lines
"""A part of the result: a member to copy, or records to write as one member."""


def union(kind: RecordKind, fresh: Sequence[Chunk], old: Sequence[Chunk], most: int = MAX_MEMBERS) -> Iterator[Piece]:
    """The pieces of the merged file in order, none of them empty; `fresh` is in the order of its pages."""
    fresh = [chunk for chunk in fresh if chunk.member.count]
    old = [chunk for chunk in old if chunk.member.count]
    if kind is RecordKind.TIMELINE and all(chunk.member.descending for chunk in chain(fresh, old)):
        groups = _groups(fresh, old)
        pieces: Iterator[Piece] = chain.from_iterable(_by_number(kind, group) for group in groups)
        number = len(groups)
    else:
        pieces = _in_order(kind, fresh, old)
        number = len(fresh) + len(old)
    return _joined(kind, pieces) if number > most else pieces


def ids_of(kind: RecordKind, chunk: Chunk, lines: Sequence[bytes]) -> list[str]:
    """The ids of a member's lines."""
    try:
        if kind is RecordKind.FOLLOWERS and b"" not in lines:
            return list(map(bytes.decode, lines))
        return [record_id(kind, line) for line in lines]
    except (MalformedError, UnicodeDecodeError) as error:
        raise chunk.row.damaged(chunk.offset, str(error)) from error


def count(kind: RecordKind, chunks: Sequence[Chunk]) -> Counts:
    """Records and distinct ids of a row; without decompressing where the order proves that they are equal."""
    filled = [chunk for chunk in chunks if chunk.member.count]
    records = sum(chunk.member.count for chunk in filled)
    numeric = kind is RecordKind.TIMELINE and all(chunk.member.descending for chunk in filled)
    if numeric and all(int(above.member.last) > int(below.member.first) for above, below in pairwise(filled)):
        return Counts(records, records)
    distinct: set[str] = set()
    for chunk in filled:
        distinct.update(ids_of(kind, chunk, chunk.lines()))
    return Counts(records, len(distinct))


def _groups(fresh: Sequence[Chunk], old: Sequence[Chunk]) -> list[list[Chunk]]:
    """The members in descending order, grouped where their ranges overlap, the fresher first in each group."""
    kept: dict[tuple[int, int], list[Chunk]] = {}
    ranked: list[tuple[int, int, int, Chunk]] = []
    for rank, chunk in enumerate(chain(fresh, old)):
        newest, oldest = int(chunk.member.first), int(chunk.member.last)
        twins = kept.setdefault((newest, oldest), [])
        if any(twin.member.same_content(chunk.member) for twin in twins):
            continue
        twins.append(chunk)
        ranked.append((newest, oldest, rank, chunk))
    ranked.sort(key=lambda entry: (-entry[0], -entry[1], entry[2]))
    groups: list[list[tuple[int, Chunk]]] = []
    reach = 0
    for newest, oldest, rank, chunk in ranked:
        if groups and newest >= reach:
            groups[-1].append((rank, chunk))
            reach = min(reach, oldest)
        else:
            groups.append([(rank, chunk)])
            reach = oldest
    return [[chunk for _, chunk in sorted(group, key=lambda entry: entry[0])] for group in groups]


def _by_number(kind: RecordKind, group: Sequence[Chunk]) -> Iterator[Piece]:
    if len(group) == 1:
        yield group[0]
        return
    found: dict[str, bytes] = {}
    for chunk in group:
        lines = chunk.lines()
        for identifier, line in zip(ids_of(kind, chunk, lines), lines, strict=True):
            found.setdefault(identifier, line)
    yield from _cut((identifier, found[identifier]) for identifier in sorted(found, key=int, reverse=True))


def _in_order(kind: RecordKind, fresh: Iterable[Chunk], old: Iterable[Chunk]) -> Iterator[Piece]:
    seen: set[str] = set()
    waiting: Lines = []
    for chunk in chain(fresh, old):
        lines = chunk.lines()
        ids = ids_of(kind, chunk, lines)
        distinct = set(ids)
        if len(distinct) == len(ids) and seen.isdisjoint(distinct):
            seen |= distinct
            yield from _cut(waiting)
            waiting = []
            yield chunk
            continue
        for identifier, line in zip(ids, lines, strict=True):
            if identifier not in seen:
                seen.add(identifier)
                waiting.append((identifier, line))
        if sum(len(line) + 1 for _, line in waiting) > _REWRITTEN_BYTES:
            yield from _cut(waiting)
            waiting = []
    yield from _cut(waiting)


def _cut(records: Iterable[tuple[str, bytes]], most: int = _REWRITTEN_BYTES) -> Iterator[Lines]:
    """The records in lists of at most `most` bytes of text, and at least one record."""
    lines: Lines = []
    size = 0
    for identifier, line in records:
        if lines and size + len(line) + 1 > most:
            yield lines
            lines, size = [], 0
        lines.append((identifier, line))
        size += len(line) + 1
    if lines:
        yield lines


def _joined(kind: RecordKind, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbours joined while their text stays within the limit; a piece that stays alone is not changed."""
    waiting: list[Piece] = []
    size = 0
    for piece in pieces:
        bytes_of_text = piece.member.plain if isinstance(piece, Chunk) else sum(len(line) + 1 for _, line in piece)
        if waiting and size + bytes_of_text > JOINED_BYTES:
            yield _one(kind, waiting)
            waiting, size = [], 0
        waiting.append(piece)
        size += bytes_of_text
    if waiting:
        yield _one(kind, waiting)


def _one(kind: RecordKind, pieces: Sequence[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    records: Lines = []
    for piece in pieces:
        if isinstance(piece, Chunk):
            lines = piece.lines()
            records.extend(zip(ids_of(kind, piece, lines), lines, strict=True))
        else:
            records.extend(piece)
    return records
