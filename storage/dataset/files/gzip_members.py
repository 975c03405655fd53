"""A data file is a row of gzip members, and the header of each member describes its content.

`zcat` reads such a file as any other. A reader that knows the header need not decompress: it holds the length of the
member, the number of its records, their first and last id, and whether they descend, so that members whose id ranges
do not overlap are copied as bytes.

    gzip header    1f 8b 08 04, no time, unknown system
    extra field    'T' 'M', length u16, CRC-32 of the rest u32, then msgpack
                   [1, deflated bytes, plain bytes, records, descending, first id, last id, cursor,
                    CRC-32 of the deflated bytes]
    deflated       the lines, each with its newline
    trailer        CRC-32 and length of the plain bytes, as in any gzip file

The CRC over the deflated bytes costs a hundredth of decompressing, so nothing is copied unchecked.
Level 1 of ISA-L is what `benchmarks/pages.py` favours: zlib's level 1 is no smaller and costs five times as much.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import msgpack
from isal import isal_zlib

from protocol.errors import DatasetError, MalformedError
from storage.dataset.files.naming import is_number
from storage.dataset.interface import (
    MAX_CURSOR_CHARACTERS,
    MAX_ID_CHARACTERS,
    MAX_PAGE_BYTES,
    Page,
    RecordKind,
    record_id,
)

GZIP_MAGIC = b"\x1f\x8b"

InflateError = cast(type[Exception], isal_zlib.error)
"""What ISA-L raises for bytes that it cannot decompress."""

_LEVEL = 1
_RAW = -15
_FORMAT = 1
_START = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
_PREFIX = struct.Struct("<10sH2sHI")  # the header, the extra length, 'TM', the field's length, its CRC
_TRAILER = struct.Struct("<II")
_PEEK = 512
"""Bytes that hold nearly every header, so that one read suffices."""

_AT_ONCE = 64 << 10
"""Bytes; a file up to this size is read at once."""


class ForeignError(MalformedError):
    """A foreign gzip member: readable, but its header does not describe its content."""


@dataclass(frozen=True, slots=True)
class GzipMember:
    """The header of a member. Lengths are in bytes; `start` is the offset of the deflated bytes in the member.

    `descending`: every id is a number and less than the one before it.
    """

    start: int
    deflated: int
    plain: int
    count: int
    descending: bool
    first: str
    last: str
    cursor: str
    check: int

    @property
    def length(self) -> int:
        """The whole member, header and trailer included."""
        return self.start + self.deflated + _TRAILER.size

    def same_content(self, other: GzipMember) -> bool:
        """Whether two members hold the same bytes, judged by lengths, ids and checksums."""
        return (self.check, self.deflated, self.plain, self.count, self.first, self.last) == (
            other.check,
            other.deflated,
            other.plain,
            other.count,
            other.first,
            other.last,
        )


class GzipMembers:
    """The members of one file, or of one page in memory.

    `read(offset, length)` returns bytes; `lost` is the error raised when they are invalid, and `name` names their
    source in messages.
    """

    def __init__(
        self, name: str, read: Callable[[int, int], bytes], length: int, lost: type[DatasetError] = DatasetError
    ) -> None:
        self.name = name
        self.length = length
        self._read = read
        self._lost = lost

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> GzipMembers:
        """A row in memory."""
        return cls(name, lambda offset, length: data[offset : offset + length], len(data))

    @classmethod
    def of_file(cls, name: str, handle: int, length: int, lost: type[DatasetError] = DatasetError) -> GzipMembers:
        """A row in an open file. A small file is read at once, which is cheaper than member by member."""
        if length > _AT_ONCE:
            return cls(name, lambda offset, size: os.pread(handle, size, offset), length, lost)
        data = os.pread(handle, length, 0)
        return cls(name, lambda offset, size: data[offset : offset + size], length, lost)

    def chunks(self) -> list[Chunk]:
        """The members in order. They must end exactly where the row ends.

        Raises ForeignError for a foreign gzip member, and the row's own error when bytes are missing or are not a
        gzip member.
        """
        found: list[Chunk] = []
        offset = 0
        while offset < self.length:
            chunk = self.chunk_at(offset)
            found.append(chunk)
            offset += chunk.member.length
        return found

    def chunk_at(self, offset: int) -> Chunk:
        """The member that begins at an offset."""
        head = self._read(offset, min(_PEEK, self.length - offset))
        if len(head) >= 12 and head[:4] == _START[:4]:
            whole = 12 + int.from_bytes(head[10:12], "little")
            if whole > len(head):
                head = self._read(offset, whole)
        try:
            member = parse_header(head)
        except ForeignError:
            raise
        except MalformedError as error:
            raise self.damaged(offset, str(error)) from error
        if offset + member.length > self.length:
            raise self.damaged(offset, f"a member of {member.length} bytes ends behind byte {self.length}")
        return Chunk(self, offset, member)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes."""
        data = self._read(offset, length)
        if len(data) != length:
            raise self.damaged(offset, f"{length} bytes were expected and {len(data)} are there")
        return data

    def damaged(self, offset: int, why: str) -> DatasetError:
        """The error to raise for damage at an offset."""
        return self._lost(f"{self.name} is damaged at byte {offset}: {why}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One member and its position in its row."""

    row: GzipMembers
    offset: int
    member: GzipMember

    def raw(self) -> bytes:
        """The member's bytes, checked."""
        data = self.row.read(self.offset, self.member.length)
        start = self.member.start
        if isal_zlib.crc32(memoryview(data)[start : start + self.member.deflated]) != self.member.check:
            raise self.row.damaged(self.offset, "the CRC of its deflated bytes is wrong")
        return data

    def text(self) -> bytes:
        """The lines, each with its newline."""
        member = self.member
        raw = self.raw()
        inflate = isal_zlib.decompressobj(wbits=_RAW)
        try:
            plain: bytes = inflate.decompress(raw[member.start : member.start + member.deflated], member.plain + 1)
        except InflateError as error:
            raise self.row.damaged(self.offset, f"it cannot be decompressed: {error}") from error
        if (isal_zlib.crc32(plain), len(plain)) != _TRAILER.unpack(raw[-_TRAILER.size :]) or len(plain) != member.plain:
            raise self.row.damaged(self.offset, "its plain bytes are not what its trailer says")
        return plain

    def lines(self) -> list[bytes]:
        """The lines without their newlines."""
        lines = self.text().split(b"\n")
        lines.pop()
        if len(lines) != self.member.count:
            raise self.row.damaged(self.offset, f"it has {len(lines)} lines and says {self.member.count}")
        return lines


def parse_header(head: bytes) -> GzipMember:
    """The parsed header of a member. Raises ForeignError for foreign gzip, MalformedError for anything else."""
    if head[:2] != GZIP_MAGIC:
        raise MalformedError("no gzip member begins here")
    if len(head) < _PREFIX.size:
        raise MalformedError("the header is cut short")
    start, extra, name, length, check = _PREFIX.unpack_from(head)
    if start != _START or name != b"TM" or length + 4 != extra:
        raise ForeignError("a gzip member of another program's begins here")
    body = head[_PREFIX.size : 12 + extra]
    if len(body) != length - 4 or isal_zlib.crc32(body) != check:
        raise MalformedError("the header is cut short or its CRC is wrong")
    try:
        version, deflated, plain, count, descending, first, last, cursor, crc = msgpack.unpackb(body)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise MalformedError("the header's own field cannot be read") from error
    if version != _FORMAT:
        raise MalformedError(f"the member has format {version!r}, and only {_FORMAT} is known here")
    if not (type(deflated) is type(plain) is type(count) is type(crc) is int) or min(deflated, plain, count, crc) < 0:
        raise MalformedError("the header's numbers are no numbers")
    if plain > MAX_PAGE_BYTES:
        raise MalformedError("the header's numbers are out of range")
    return GzipMember(12 + extra, deflated, plain, count, bool(descending), str(first), str(last), str(cursor), crc)


def encode(ids: Sequence[str], lines: Sequence[bytes], *, cursor: str = "", descending: bool | None = None) -> bytes:
    """One member of these records. `ids` and `lines` correspond one to one.

    `descending` is the result of `descends(ids)`, for a caller that has it already.
    """
    text = b"\n".join(lines) + b"\n" if lines else b""
    if text.count(b"\n") != len(lines):
        raise DatasetError("a record's line contains a newline, and would become two records")
    if len(text) > MAX_PAGE_BYTES:
        raise DatasetError(f"a page has {len(text):,} bytes, and the limit is {MAX_PAGE_BYTES:,}")
    deflated = isal_zlib.compress(text, _LEVEL, wbits=_RAW)
    body: bytes = msgpack.packb(
        [
            _FORMAT,
            len(deflated),
            len(text),
            len(lines),
            descends(ids) if descending is None else descending,
            ids[0] if ids else "",
            ids[-1] if ids else "",
            cursor,
            isal_zlib.crc32(deflated),
        ]
    )
    size = len(body) + 4
    prefix = _PREFIX.pack(_START, size + 4, b"TM", size, isal_zlib.crc32(body))
    return b"".join((prefix, body, deflated, _TRAILER.pack(isal_zlib.crc32(text), len(text))))


def descends(ids: Sequence[str]) -> bool:
    """Whether all ids are numbers, each less than the one before it."""
    if not all(map(is_number, ids)):
        return False
    numbers = [int(identifier) for identifier in ids]
    return all(map(int.__gt__, numbers, numbers[1:]))


def encode_page(kind: RecordKind, page: Page) -> bytes:
    """A page as one member. The posts of a timeline with numeric ids are sorted, newest first, each once.

    Raises DatasetError for a record that could not be found again: an id that is empty, too long, or not the line's.
    """
    if kind not in page.packed:
        page.packed[kind] = _packed(kind, page)
    return page.packed[kind]


def _packed(kind: RecordKind, page: Page) -> bytes:
    records = page.records
    ids = [record.id for record in records]
    if kind is RecordKind.FOLLOWERS:
        lines = [identifier.encode() for identifier in ids]
        if lines != [record.line for record in records]:
            raise DatasetError("a follower's line must be the follower's id")
    else:
        lines = [record.line for record in records]
        if records and record_id(kind, lines[0]) != ids[0]:
            raise DatasetError(f"a record is called {ids[0][:80]!r}, and its line has another id")
    if ids and not 0 < min(map(len, ids)) <= max(map(len, ids)) <= MAX_ID_CHARACTERS:
        raise DatasetError(f"a record's id has 1 to {MAX_ID_CHARACTERS} characters")
    if len(page.cursor) > MAX_CURSOR_CHARACTERS:
        raise DatasetError(f"a cursor has {len(page.cursor)} characters, and the limit is {MAX_CURSOR_CHARACTERS}")
    descending = kind is RecordKind.TIMELINE and descends(ids)
    if kind is RecordKind.TIMELINE and not descending and all(map(is_number, ids)):
        descending = True
        first = dict(zip(reversed(ids), reversed(lines), strict=True))
        ids = sorted(first, key=int, reverse=True)
        lines = [first[identifier] for identifier in ids]
    return encode(ids, lines, cursor=page.cursor, descending=descending)
