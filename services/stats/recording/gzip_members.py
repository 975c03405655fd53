"""One commit of a recording: a gzip member whose header has the subscriber's position and its counts.

    gzip header with FEXTRA, subfield "TS": CRC-32 of what follows, then msgpack
        [1, offset, deflated, plain, lines, first, last, synced, position, counts]
    raw deflate of the lines, CRC-32 and length of them        (so `zcat` and every reader of members reads it)

`offset` is where the member begins in its file, which distinguishes its beginning from bytes that look like one;
`deflated` and `plain` are lengths in bytes; `first` and `last` unix times of its lines, 0 without lines; bytes before
`synced` were on disk when the member was written. Position and counts are in one write with the lines.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgpack

from protocol.errors import DatasetError, MalformedError

MAX_PLAIN: Final = 64 << 20
"""Bytes of the lines of one member."""
MAX_HEAD: Final = 2_048
"""Bytes of a header."""
LEVEL: Final = 6

_START: Final = bytes.fromhex("1f8b08040000000000ff")
_PREFIX: Final = struct.Struct("<10sH2sHI")
_TRAILER: Final = struct.Struct("<II")
_FORMAT: Final = 1
_SCAN: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a member. `head` is its length in bytes."""

    offset: int
    head: int
    deflated: int
    plain: int
    lines: int
    first: int
    last: int
    synced: int
    position: str
    counts: tuple[int, ...]

    @property
    def end(self) -> int:
        """Where the next member begins."""
        return self.offset + self.head + self.deflated + _TRAILER.size


def encode(
    offset: int, lines: Sequence[bytes], times: Sequence[int], synced: int, position: str, counts: Sequence[int]
) -> bytes:
    """The member with these lines, each with its newline, and their `times`. Raises DatasetError."""
    text = b"".join(lines)
    if len(text) > MAX_PLAIN:
        raise DatasetError(f"a commit of {len(text):,} bytes is too large for a recording: at most {MAX_PLAIN:,}")
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = deflate.compress(text) + deflate.flush()
    first, last = (min(times), max(times)) if times else (0, 0)
    said = [_FORMAT, offset, len(data), len(text), len(lines), first, last, synced, position, list(counts)]
    body: bytes = msgpack.packb(said)
    prefix = _PREFIX.pack(_START, len(body) + 8, b"TS", len(body) + 4, zlib.crc32(body))
    if len(prefix) + len(body) > MAX_HEAD:
        raise DatasetError(f"a position of {len(position)} characters is too long for a recording")
    return b"".join((prefix, body, data, _TRAILER.pack(zlib.crc32(text), len(text))))


def parse(head: bytes, offset: int) -> Header:
    """The header at the beginning of these bytes, which are at `offset` of their file. Raises MalformedError."""
    if len(head) < _PREFIX.size:
        raise MalformedError("a header is cut short")
    start, extra, name, length, check = _PREFIX.unpack_from(head)
    if start != _START or name != b"TS" or length + 4 != extra or length < 5:
        raise MalformedError("no member of a recording begins here")
    body = head[_PREFIX.size : 12 + extra]
    if len(body) != length - 4 or zlib.crc32(body) != check:
        raise MalformedError("a header is cut short or its CRC is wrong")
    try:
        version, *numbers, position, counts = msgpack.unpackb(body)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise MalformedError("a header's own field cannot be read") from error
    if version != _FORMAT:
        raise MalformedError(f"a member has format {version!r}, and only {_FORMAT} is known here")
    ours = len(numbers) == 7 and type(counts) is list and type(position) is str
    if not ours or not all(type(number) is int and number >= 0 for number in (*numbers, *counts)):
        raise MalformedError("a header's fields are not what they must be")
    there, deflated, plain, lines, first, last, synced = numbers
    if there != offset or plain > MAX_PLAIN or deflated > 2 * MAX_PLAIN:
        raise MalformedError("a header speaks of another place")
    return Header(offset, 12 + extra, deflated, plain, lines, first, last, synced, position, tuple(counts))


def header_at(handle: int, offset: int) -> Header:
    """The header of the member that begins at this offset of a file. Raises MalformedError."""
    return parse(os.pread(handle, MAX_HEAD, offset), offset)


def text_of(handle: int, header: Header) -> bytes:
    """The lines of a member. Raises MalformedError when they are incomplete or damaged."""
    wanted = header.deflated + _TRAILER.size
    raw = os.pread(handle, wanted, header.offset + header.head)
    if len(raw) != wanted:
        raise MalformedError("a member is cut short")
    try:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        text = inflate.decompress(raw[: header.deflated], header.plain + 1)
    except zlib.error as error:
        raise MalformedError(f"a member cannot be decompressed: {error}") from error
    if not inflate.eof or inflate.unused_data:
        raise MalformedError("a member's lines do not end where they must")
    if (zlib.crc32(text), len(text)) != _TRAILER.unpack(raw[header.deflated :]) or len(text) != header.plain:
        raise MalformedError("a member's lines are not what its trailer says")
    return text


def next_header(handle: int, offset: int) -> Header | None:
    """The first header at or after `offset`; None when there is none."""
    while block := os.pread(handle, _SCAN + len(_START) - 1, offset):
        at = block.find(_START)
        while 0 <= at < _SCAN:
            try:
                return header_at(handle, offset + at)
            except MalformedError:
                at = block.find(_START, at + 1)  # Bytes that only look like a beginning.
        offset += _SCAN
    return None


def looks_begun(head: bytes) -> bool:
    """Whether these first bytes of a file are the beginning of a recording, possibly truncated anywhere."""
    prefix = _START + head[10:12] + b"TS"
    return head[: len(prefix)] == prefix[: len(head)]
