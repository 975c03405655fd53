"""Where the local indexes of one engine are stored, which of them is the current one, and which process may write.

    index/writer.lock        held by the one process that writes
    index/whoosh.current     the name of the current index; replaced atomically, which makes the switch
    index/whoosh-000001/     the current index, or a former one that is kept
    index/whoosh-000002.new/ one that is being built; if interrupted, it is never used, and deleted by the next build

Only folders that never became an index, and those passed to `remove`, are deleted.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from protocol.errors import DatasetError
from services.indexer.index import IndexingError
from storage.durable import in_words, make_directory, replace_file, sync_directory
from storage.locks import locked

_NEW: Final = ".new"
_MAX_NAME_BYTES: Final = 200


class LocalStore:
    """The indexes of an engine below a directory. Raises IndexingError on disk errors."""

    def __init__(self, directory: Path, engine: str) -> None:
        self.directory = directory
        self.engine = engine
        self._pointer = directory / f"{engine}.current"
        self._name = re.compile(rf"{engine}-(\d{{6}})(\.new)?")

    def lock(self) -> Lock:
        """Become the only writer. Raises IndexingError when another process is."""
        return Lock(self.directory)

    def current(self) -> Path | None:
        """The folder of the current index, None before there is one."""
        try:
            with self._pointer.open("rb") as file:
                name = file.read(_MAX_NAME_BYTES).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IndexingError(f"{self._pointer} cannot be read: {error.strerror}") from error
        if not self._name.fullmatch(name):
            raise IndexingError(f"{self._pointer} does not name an index; write the name of one beside it into it")
        return self.directory / name

    def begin(self) -> Path:
        """A folder for a new index; leftovers of an earlier attempt are removed."""
        with _in_words(f"make an index in {self.directory}"):
            make_directory(self.directory)
            taken = [0]
            for path in self.directory.iterdir():
                if match := self._name.fullmatch(path.name):
                    taken.append(int(match[1]))
                    if match[2]:
                        shutil.rmtree(path)
            folder = self.directory / f"{self.engine}-{max(taken) + 1:06d}{_NEW}"
            folder.mkdir()
            return folder

    def finish(self, folder: Path) -> Path:
        """Make a folder that `begin` returned the current index."""
        final = folder.with_name(folder.name.removesuffix(_NEW))
        with _in_words(f"put the index {final} in place"):
            folder.rename(final)
            sync_directory(self.directory)
            replace_file(self._pointer, f"{final.name}\n".encode())
        return final

    def remove(self, folder: Path) -> None:
        """Delete an index that is not the current one."""
        assert folder != self.current()
        with _in_words(f"delete {folder}"):
            shutil.rmtree(folder)


class Lock:
    """The right to write; released by `release`, or by the end of the process, however it ends."""

    def __init__(self, directory: Path) -> None:
        path = directory / "writer.lock"
        with _in_words(f"use {directory} for an index"):
            make_directory(directory)
        held = locked(path, "the index", failure=IndexingError)
        if held is None:
            raise IndexingError(
                f"another tmatic-indexer writes to {directory}: end it first, or give this one a folder of its own "
                "(--index-directory)"
            )
        self._held: BinaryIO = held

    def release(self) -> None:
        """Let another process write."""
        self._held.close()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


@contextlib.contextmanager
def _in_words(doing: str) -> Iterator[None]:
    try:
        with in_words(doing):
            yield
    except DatasetError as error:
        raise IndexingError(str(error)) from error
