"""A point: `NAME VALUE UNIXTIME`, as in a line of a recording and as carbon accepts it."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from protocol.errors import DatasetError
from storage.dataset.files.gzip_members import GZIP_MAGIC
from storage.durable import in_words

MAX_LINE_LENGTH: Final = 1_024
"""Bytes; we write none longer, and carbon's reader has limits too."""
LATEST: Final = 1 << 40
"""Seconds; a time beyond it is not a unix time."""

_READ: Final = 32 * 1024
"""Bytes that are read at once. Decompressed they become a thousand times as many at most."""
_LINE: Final = re.compile(rb"([!-:<-~]+) ([0-9.eE+-]{1,40}) ([0-9]{1,13})(?:\.[0-9]*)?\r?")
"""Printable names without spaces, and without the `;` that starts a tag."""


@dataclass(frozen=True, slots=True)
class Point:
    """A number with a name at a unix time. `value` is the text that was read or is written, so that nothing is
    rounded in between."""

    name: str
    value: str
    at: int

    def line(self) -> bytes:
        """The line with its newline."""
        return f"{self.name} {self.value} {self.at}\n".encode()


def point(line: bytes) -> Point | None:
    """The point of a line without its newline; None when it is not one."""
    found = _LINE.fullmatch(line) if len(line) <= MAX_LINE_LENGTH else None
    if found is None:
        return None
    name, value, at = (said.decode() for said in found.groups())
    try:
        number = float(value)
    except ValueError:
        return None
    return Point(name, value, int(at)) if math.isfinite(number) and int(at) < LATEST else None


@dataclass(slots=True)
class Oddities:
    """What was left out while a file was read: lines that are not points, and bytes after the last whole record."""

    lines: int = 0
    torn: bool = False


def points_of(path: Path, odd: Oddities, names: Container[bytes] | None = None) -> Iterator[Point]:
    """The points of any gzip or plain file of such lines, ours or the original's, in order; or only those with these
    names, which is faster.

    An incomplete tail, as after a kill or of a live writer, is not an error: the data before it is read. Raises
    DatasetError when the file cannot be read, or is damaged in its middle.
    """
    rest = b""
    with in_words(f"read {path}"), path.open("rb") as file:
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
        for block in _inflated(path, file, odd) if magic == GZIP_MAGIC else iter(lambda: file.read(_READ), b""):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if names is not None and line.partition(b" ")[0] not in names:
                    continue
                found = point(line)
                if found is None:
                    odd.lines += 1
                else:
                    yield found
            if len(rest) > MAX_LINE_LENGTH:
                odd.lines += 1
                rest = rest[: MAX_LINE_LENGTH + 1]
    odd.torn = odd.torn or bool(rest)


def _inflated(path: Path, file: BinaryIO, odd: Oddities) -> Iterator[bytes]:
    """The decompressed bytes of a series of gzip members."""
    inflate, begun = zlib.decompressobj(wbits=31), False
    while block := inflate.unused_data or file.read(_READ):
        if inflate.eof:
            inflate, begun = zlib.decompressobj(wbits=31), False
        try:
            plain = inflate.decompress(block)
        except zlib.error as error:
            if file.read(1):
                raise DatasetError(f"{path} is damaged near byte {file.tell():,}: {error}") from error
            begun = True  # After a power cut the end may contain anything.
            break
        begun = True
        if plain:
            yield plain
    odd.torn = odd.torn or (begun and not inflate.eof)
