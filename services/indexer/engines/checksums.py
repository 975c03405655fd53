"""Detects a torn index: the seal has the size and CRC-32 of every file of a commit, and the mark of that commit.

The seal is written after the commit, so it may be one commit late, never early. Files of an index are written once and
then only removed: one that exists must match the seal. A file that does not exist is not checked, since a later commit
may have removed it; if it is needed, the engine raises when it opens the index.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import orjson

from services.indexer.index import TornError
from storage.durable import replace_file

_NAME: Final = "seal.json"
_MAX_BYTES: Final = 64 << 20
"""Bytes of a seal."""

_AT_ONCE: Final = 1 << 20
CHECKED_BYTES: Final = 1 << 30
"""Bytes of files that are read at start, the newest first: a crash tears what was written last."""


class Checksums:
    """The seal of the index in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _NAME
        self.mark: str | None = None
        self._files: dict[str, tuple[int, int]] = {}
        self._read()

    def renew(self, names: Iterable[str], mark: str | None) -> None:
        """Seal these files of the folder as they are; files sealed before are not read again."""
        files = {}
        for name in names:
            found = self._files.get(name) or _sum(self._folder / name)
            if found is not None:
                files[name] = found
        self._files, self.mark = files, mark
        replace_file(self._path, orjson.dumps({"mark": mark, "files": files}))

    def check(self) -> None:
        """Raises TornError when a file differs from the seal."""
        there = []
        for name, (size, crc) in self._files.items():
            path = self._folder / name
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            if found.st_size != size:
                raise TornError(f"{path} has {found.st_size:,} bytes, and {size:,} were written")
            there.append((found.st_mtime_ns, size, path, crc))
        read = 0
        for _, size, path, crc in sorted(there, reverse=True):
            read += size
            if read > CHECKED_BYTES:
                break
            if _sum(path) != (size, crc):
                raise TornError(f"{path} does not hold what was written to it")

    def _read(self) -> None:
        """Read the seal. An unreadable one is ignored: then only the engine checks the index."""
        try:
            with self._path.open("rb") as file:
                value = orjson.loads(file.read(_MAX_BYTES))
            self._files = {str(name): (int(size), int(crc)) for name, (size, crc) in value["files"].items()}
            self.mark = value["mark"] if isinstance(value["mark"], str) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._files, self.mark = {}, None


def _sum(path: Path) -> tuple[int, int] | None:
    """Size and CRC-32 of a file, None when it was removed."""
    crc = size = 0
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        while data := os.read(handle, _AT_ONCE):
            crc = zlib.crc32(data, crc)
            size += len(data)
    finally:
        os.close(handle)
    return size, crc
