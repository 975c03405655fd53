"""The socket of an embedded server, and a path to reach it by: the kernel accepts only short paths."""

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
"""Bytes; the kernel's `sun_path` holds 108 with the terminating zero."""


def url_of(socket: Path) -> str:
    """The URL at which a client connects to it."""
    return "unix://" + quote(str(socket))


def url_beside(directory: Path) -> str:
    """The URL of the server in a directory that another process owns. Raises LedgerError when it does not listen."""
    directory = directory.resolve()
    if not (directory / SOCKET).exists():
        raise LedgerError(f"the embedded Valkey in {directory} does not listen yet, or not any more: try again")
    return url_of(short(directory) / SOCKET)


def short(directory: Path) -> Path:
    """A path to `directory` by which its socket can be reached: the same, or a link to it if that is too long, or has
    characters that a URL and the locale may encode differently."""
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
    # Anyone may write next to it; only a folder of this user that nobody else can enter is trusted.
    if not private.is_dir() or private.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise LedgerError(f"{private} belongs to somebody else: remove it, or choose a shorter path for the ledger")
    with suppress(OSError):
        if link.readlink() == directory:  # another process may be using it
            return link
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(directory)
    return link
