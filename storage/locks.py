"""File locks: held as long as the file, or a copy of it that a child inherited, stays open; a crash releases them."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from protocol.errors import DatasetError, TmaticError
from storage.durable import in_words


def locked(
    path: Path, whose: str, *, shared: bool = False, failure: Callable[[str], TmaticError] = DatasetError
) -> BinaryIO | None:
    """The file, created if missing, and locked for as long as it or an inherited copy of it stays open; None if
    another process holds the lock. With `shared`, several processes hold it together.

    Raises a `failure` that says what is locked (`whose`: "the ledger") where the file cannot be opened or locked.
    """
    try:
        with in_words(f"lock {path} for {whose}"):
            lock = path.open("ab")
            try:
                held = take(lock.fileno(), shared=shared)
            except BaseException:
                lock.close()
                raise
    except DatasetError as error:
        hint = ": is its directory gone?" if isinstance(error.__cause__, FileNotFoundError) else ""
        raise failure(f"{error}{hint}") from error
    if held:
        return lock
    lock.close()
    return None


def take(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file, or convert its lock to this kind. False if another holds it; an upgrade that fails may
    have lost the shared lock. Raises OSError where the file system has no locks."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
