"""Reading a data file line by line, whether it is our gzip, foreign gzip, or plain."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from isal import igzip

from protocol.errors import DatasetError
from storage.dataset.files.gzip_members import GZIP_MAGIC, InflateError
from storage.durable import in_words

_open_gzip: Callable[[BinaryIO], BinaryIO] = igzip.open

MAX_LINE_BYTES = 64 << 20
"""Bytes per line; a longer one is refused before it is read."""


def lines_of_file(path: Path) -> Iterator[bytes]:
    """The lines without their newlines. Raises DatasetError when the file is damaged or cannot be read."""
    try:
        with in_words(f"read {path}"), path.open("rb") as raw:
            start = raw.read(len(GZIP_MAGIC))
            raw.seek(0)
            with _open_gzip(raw) if start == GZIP_MAGIC else raw as file:
                while line := file.readline(MAX_LINE_BYTES + 1):
                    if len(line) > MAX_LINE_BYTES:
                        raise DatasetError(f"{path} has a line of more than {MAX_LINE_BYTES:,} bytes")
                    yield line[:-1] if line.endswith(b"\n") else line
    except (EOFError, InflateError, zlib.error) as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
