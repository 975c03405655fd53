"""The payload of an event: gzip members of lines, unpacked within a size limit."""

from __future__ import annotations

import zlib

from protocol.errors import MalformedError
from storage.dataset.interface import MAX_PAGE_BYTES

_GZIP = 16 + zlib.MAX_WBITS


def lines_of(payload: bytes, most: int = MAX_PAGE_BYTES) -> list[bytes]:
    """The lines of a payload, without newlines and empty ones. Raises MalformedError when it is damaged, or would hold
    more than `most` bytes."""
    pieces: list[bytes] = []
    size = 0
    try:
        while payload:
            member = zlib.decompressobj(_GZIP)
            pieces.append(member.decompress(payload, most + 1 - size))
            size += len(pieces[-1])
            if size > most:
                raise MalformedError(f"a page is larger than {most:,} bytes")
            if not member.eof:
                raise MalformedError("a page ends in the middle of a gzip member")
            payload = member.unused_data
    except zlib.error as error:
        raise MalformedError(f"a page is no gzip member: {error}") from error
    return [line for line in b"".join(pieces).split(b"\n") if line]
