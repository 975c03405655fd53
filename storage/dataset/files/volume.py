"""The state of an output directory as a whole: its ledger, its highest epoch, and the features its volume needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from protocol.errors import DatasetError
from protocol.numbers import MAX_INT64, whole_number
from storage.durable import (
    PRIVATE,
    create,
    in_words,
    make_directory,
    replace_file,
    replacing,
    sync_directory,
    write_new,
)

_REMOTE = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ocfs2",
        "gfs2",
    )
)
_REMOTE_FUSE = ("sshfs", "s3fs", "rclone", "glusterfs", "ceph", "davfs", "curlftpfs", "goofys", "gcsfuse", "juicefs")
_EPOCH = "epoch."
_LEDGER = "ledger."
_MAX_ID_BYTES = 1_000


class Volume:
    """The output directory and, when given, the directory for segments."""

    def __init__(self, output: Path, temporary: Path | None) -> None:
        self._output = output
        self._temporary = temporary
        self._private = output / PRIVATE

    def highest_epoch(self) -> int:
        """The highest epoch ever witnessed, 0 for none."""
        with in_words(f"list {self._private}"):
            return max(self._epochs(), default=0)

    def witness_epoch(self, epoch: int) -> None:
        """Store an epoch. Each has its own file and only lower ones are removed, so two writers cannot lower it."""
        with in_words(f"write to {self._private}"):
            if epoch <= max(self._epochs(), default=0):
                return
            with contextlib.suppress(FileExistsError):
                os.close(create(self._private / f"{_EPOCH}{epoch}"))
            sync_directory(self._private)
            known = self._epochs()
            for lower in known:
                if lower < max(known):
                    (self._private / f"{_EPOCH}{lower}").unlink(missing_ok=True)

    def _epochs(self) -> list[int]:
        try:
            names = os.listdir(self._private)
        except FileNotFoundError:
            return []
        epochs = (whole_number(name.removeprefix(_EPOCH), MAX_INT64) for name in names if name.startswith(_EPOCH))
        return [epoch for epoch in epochs if epoch is not None]

    def ledger_id(self, crawl: str) -> str | None:
        """The id of the ledger that is bound to a crawl of this directory, None for none."""
        path = self._private / f"{_LEDGER}{crawl}"
        with in_words(f"read {path}"):
            try:
                with path.open("rb") as file:
                    raw = file.read(_MAX_ID_BYTES + 1)
            except FileNotFoundError:
                return None
        try:
            if len(raw) <= _MAX_ID_BYTES:
                return raw.decode().strip() or None
        except UnicodeDecodeError:
            pass
        raise DatasetError(f"{path} does not hold a ledger's id; restore it, or remove it and say --adopt")

    def set_ledger_id(self, crawl: str, ledger: str) -> None:
        """Bind a crawl of this directory to a ledger, durably."""
        path = self._private / f"{_LEDGER}{crawl}"
        with in_words(f"write {path}"):
            replace_file(path, f"{ledger}\n".encode())

    def crawls(self) -> list[str]:
        """The crawls of this directory that are bound to a ledger."""
        with in_words(f"list {self._private}"):
            return sorted(path.name[len(_LEDGER) :] for path in self._private.glob(f"{_LEDGER}*"))

    def keep(self, name: str, write: Callable[[BinaryIO], None]) -> str:
        """Store a file in the output directory, atomically; returns its path."""
        path = self._output / name
        with in_words(f"write {path}"), replacing(path) as file:
            write(file)
        return str(path)

    def check(self) -> None:
        """Refuse what would fail later: no write access, no hard links, segments on another or a remote volume."""
        self._try_out()
        if self._temporary is None:
            return
        with in_words(f"use {self._temporary} for temporary files"):
            make_directory(self._temporary)
            probe = self._temporary / f".probe.{os.urandom(8).hex()}"
            write_new(probe, b"")
            probe.unlink()
            device = os.stat(self._temporary).st_dev
            if device != os.stat(self._output).st_dev:
                raise DatasetError(
                    f"the temporary directory {self._temporary} must be on the same volume as the output {self._output}"
                )
        kind = file_system(device)
        if kind in _REMOTE or (kind.startswith("fuse.") and kind[5:].startswith(_REMOTE_FUSE)):
            raise DatasetError(f"the temporary directory {self._temporary} must be on a local disk, and is on {kind}")

    def _try_out(self) -> None:
        pending = self._private / "pending"
        name = f"probe.{os.urandom(8).hex()}"
        first, second = pending / name, pending / f"{name}.link"
        with in_words(f"use {self._output} as the output directory"):
            make_directory(self._private)
            write_new(first, b"probe")
        try:
            with in_words(f"use {self._output}: its file system must have hard links, and says of one"):
                os.link(first, second)
        finally:
            first.unlink(missing_ok=True)
            second.unlink(missing_ok=True)


def file_system(device: int) -> str:
    """The type of the mounted file system with this device number, empty where the system does not report it."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) > 2 and words[2] == wanted and "-" in words:
            return words[words.index("-") + 1]
    return ""
