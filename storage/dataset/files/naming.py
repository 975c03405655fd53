"""The path of an account's file: `22/22013880.twt` for numeric ids, an escaped name in a hashed directory for others.

A name is safe on any file system: no separator, no leading dot or dash, no capital letters (so that two ids never
collide on a case-insensitive volume), at most 120 characters. Names are reversible unless they had to be cut.
"""

from __future__ import annotations

import hashlib
import re
import string
import zlib

from protocol.errors import DatasetError

MAX_STEM = 120
"""Characters. A longer name is cut, and ends in a digest of the whole id."""

_KEPT = frozenset((string.ascii_lowercase + string.digits + "_-").encode())
_ESCAPE = re.compile(r"%([0-9a-f]{2})")
_CUT = "~"


def escaped(identifier: str) -> str:
    """The file name, without its ending, that stands for an id."""
    if not identifier:
        raise DatasetError("an account without an id has no place in the dataset")
    raw = identifier.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if byte in _KEPT else f"%{byte:02x}" for byte in raw)
    if name[0] == "-":
        name = "%2d" + name[1:]
    if len(name) > MAX_STEM:
        digest = hashlib.sha256(raw).hexdigest()[:40]
        name = name[: MAX_STEM - 41] + _CUT + digest
    return name


def unescaped(name: str) -> str | None:
    """The id that a name stands for, None when the name was cut or was not made by `escaped`."""
    if _CUT in name:
        return None
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)
    try:
        identifier = raw.encode("latin-1").decode("utf-8", "surrogatepass")
    except UnicodeError:
        return None
    return identifier if identifier and escaped(identifier) == name else None


def is_number(identifier: str) -> bool:
    """Whether an id is a decimal number in canonical form, so that ids and numbers correspond one to one."""
    return identifier.isascii() and identifier.isdigit() and (identifier[0] != "0" or identifier == "0")


def directory(identifier: str) -> str:
    """The directory of an account below the output: the first two digits, or three characters from a hash."""
    if identifier.isascii() and identifier.isdigit():
        return identifier[:2]
    digest = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()
    return "x" + digest[:2]


def bucket(stem: str) -> str:
    """The directory of a file's records, one of 4,096, so that listings stay short with millions of files."""
    return f"{zlib.crc32(stem.encode()) & 0xFFF:03x}"
