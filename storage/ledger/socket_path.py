"""Where the socket of an embedded server is, and by which path it can be reached: the kernel takes only short ones."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from protocol.errors import LedgerError

SOCKET: Final = "valkey.sock"
MAX_SOCKET_PATH_BYTES: Final = 107
"""Bytes; the kernel's `sun_path` holds 108 with the closing zero."""


def url_of(socket: Path) -> str:
    """The URL by which a client connects to it."""
    return "unix://" + quote(str(socket))


def url_beside(directory: Path) -> str:
    """Where the server of a directory that another process owns listens. Raises LedgerError when it does not."""
    directory = directory.resolve()
    if not (directory / SOCKET).exists():
        raise LedgerError(f"the embedded Valkey in {directory} does not listen yet, or not any more: try again")
    return url_of(short(directory) / SOCKET)


def short(directory: Path) -> Path:
    """A path to `directory` by which its socket can be reached: the same, or a link to it if that is too long, or has
    letters that a URL and the locale may take for different bytes."""
    if str(directory).isascii() and len(os.fsencode(directory / SOCKET)) <= MAX_SOCKET_PATH_BYTES:
        return directory
    name = f"tmatic-{os.getuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"
    private = Path(tempfile.gettempdir(), name)
    link = private / "d"
    if len(os.fsencode(link / SOCKET)) > MAX_SOCKET_PATH_BYTES:
        raise LedgerError(f"{directory} and {private} are too long for a socket: choose a shorter path")
    with suppress(FileExistsError):
        private.mkdir(mode=0o700)
    found = private.lstat()
    # Anyone may write beside it; only a folder that is ours and that nobody else can enter is to be trusted.
    if not private.is_dir() or private.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LedgerError(f"{private} belongs to somebody else: remove it, or choose a shorter path for the ledger")
    with suppress(OSError):
        if link.readlink() == directory:  # somebody may be on his way through it
            return link
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(directory)
    return link
