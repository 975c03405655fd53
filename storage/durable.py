"""File system operations that must survive a power cut, and their error messages."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from protocol.errors import DatasetError

StrPath = str | os.PathLike[str]

PRIVATE = ".tmatic"
"""The directory in an output directory that makes it a dataset: receipts, segments, and whatever is not finished."""
_begun: set[Path] = set()
"""Directories of that name that this process has found or made."""

_WORDS = {
    errno.ENOSPC: "the disk is full; make room, and the crawl goes on",
    errno.EDQUOT: "the disk quota is used up; make room, and the crawl goes on",
    errno.EFBIG: "the file would grow beyond the limit that is set for this process (ulimit -f)",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "permission is denied; see whom the directory belongs to",
    errno.EPERM: "the file system does not permit it",
    errno.EIO: "the disk reports an input/output error; see the system's log",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOTDIR: "a file stands where a directory should be",
}


@contextlib.contextmanager
def in_words(doing: str) -> Iterator[None]:
    """Turn an OSError in the block into a DatasetError that says what failed and why."""
    try:
        yield
    except OSError as error:
        why = _WORDS.get(error.errno or 0) or error.strerror or str(error)
        raise DatasetError(f"cannot {doing}: {why}") from error


def sync_directory(path: StrPath) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems make names durable by themselves and refuse the call.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents, durably. An existing one is fine.

    Raises DatasetError where a dataset's own directory would be made a second time: a new one in place of one that
    disappeared would make the rest of a crawl look like all of it.
    """
    if path.name == PRIVATE:
        if path in _begun and not path.is_dir():
            raise DatasetError(f"there is no dataset in {path.parent} any more: is its volume mounted?")
        _begun.add(path)
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
    sync_directory(path.parent)


def write_all(handle: int, data: bytes, offset: int | None = None) -> None:
    """Write every byte, at an offset or at the current position; this may need several system calls."""
    view = memoryview(data)
    while view:
        if offset is None:
            written = os.write(handle, view)
        else:
            written = os.pwrite(handle, view, offset)
            offset += written
        view = view[written:]


def create(path: StrPath) -> int:
    """Create and open a file that must not exist yet, and its directory when that is missing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        make_directory(Path(path).parent)
        return os.open(path, flags, 0o666)


def write_new(path: StrPath, data: bytes) -> None:
    """Create a file with durable content; its name is durable once the directory is synced."""
    handle = create(path)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file for the new content, which replaces the one at `path` at the end, durably: a reader sees the old or the
    new, never a mixture. When anything is raised, the old one stays."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file by these bytes, as `replacing` does, and make its directory when that is missing."""
    if not path.parent.is_dir():
        make_directory(path.parent)
    with replacing(path) as file:
        file.write(data)
