"""Commands as a shell starts them in an environment, and what is left of them when they ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from protocol.text import plain
from tests.environments.table import NOBODY, Row, environment
from tests.leftovers import left_behind

BIN = Path(sys.executable).parent
MARK = "ENVIRONS"
WITHIN_S = 90.0
GONE_WITHIN_S = 20.0
BUGS = ("Traceback", "Exception ignored", "Logging error", "Fatal Python error", "unraisable", "_ZSt")
"""What no command ever says."""
Process = subprocess.Popen[bytes]
Said = tuple[int | IO[bytes], int | IO[bytes]]
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
# It may read what root may, since an interpreter may lie where root alone comes; write it may not.
AS_NOBODY += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it said where that could be seen."""

    words: tuple[str, ...]
    code: int
    out: bytes
    err: str

    @property
    def is_bug(self) -> bool:
        return any(bug in self.err for bug in BUGS)

    def __str__(self) -> str:
        return f"{' '.join(self.words)} ended with {self.code}: {self.err[-3000:]}"


def start(row: Row, words: Sequence[str], folder: Path, locales: Path, mark: str, said: Said) -> Process:
    """A command of ours in a row, from `folder`, with its output and its errors where `said` has them, as far as the
    row lets it."""
    reader, unread = os.pipe()
    os.close(reader)
    nobody = AS_NOBODY if row.before == "nobody" else []
    before = "" if nobody else f"{row.before} && " if row.before else ""
    streams = row.streams.format(unread=unread)
    script = f'{before}exec "$@" {streams}'
    try:
        return subprocess.Popen(
            [*nobody, "bash", "-c", script, "bash", str(BIN / words[0]), *words[1:]],
            cwd=folder,
            env={**environment(row, locales), MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=said[0],
            stderr=said[1],
            pass_fds=[unread],
        )
    finally:
        os.close(unread)


def run_in(row: Row, words: Sequence[str], folder: Path, locales: Path, *places: Path) -> Ended:
    """Run a command of ours in a row, from `folder`. Raises AssertionError where it says what only a bug says, or
    leaves a process behind, there or at one of the further `places`."""
    with nothing_left(folder, *places) as mark:
        with start(row, words, folder, locales, mark, (subprocess.PIPE, subprocess.PIPE)) as process:
            try:
                out, err = process.communicate(timeout=WITHIN_S)
            except BaseException:
                process.kill()
                raise
        ended = Ended(tuple(map(plain, words)), process.returncode, out, err.decode(errors="replace"))
        assert not ended.is_bug, ended
    return ended


@contextlib.contextmanager
def nothing_left(*places: Path) -> Iterator[str]:
    """The mark for the processes of the block. Raises AssertionError when one of them is left after it; it is ended
    then, and however the block ended."""
    mark = secrets.token_hex(8)
    named = f"{MARK}={mark}".encode()
    try:
        yield mark
    except BaseException:
        left_behind(0, named, *places)
        raise
    left = left_behind(GONE_WITHIN_S, named, *places)
    assert not left, f"left behind: {left}"
