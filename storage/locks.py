"""Locks on files: held as long as the file, or a copy of it that a child inherited, stays open; a crash lets go."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import BinaryIO

from protocol.errors import LedgerError


def locked(path: Path, *, shared: bool = False) -> BinaryIO | None:
    """The file, locked for as long as it or an inherited copy of it stays open; None if another holds it. Those who
    lock it `shared` hold it together."""
    try:
        lock = path.open("ab")
    except OSError as error:
        raise LedgerError(f"{path} cannot be opened: {error.strerror}; is the ledger's directory gone?") from error
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise LedgerError(f"{path} cannot be locked: {error.strerror}") from error
    return lock
