"""Commands as a shell starts them in an environment, and what is left of them when they ended."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.text import plain
from tests.environments.table import NOBODY, Row, environment
from tests.waiting import until

BIN = Path(sys.executable).parent
MARK = "ENVIRONS"
WITHIN_S = 90.0
GONE_WITHIN_S = 20.0
BUGS = ("Traceback", "Exception ignored", "Logging error", "Fatal Python error", "unraisable", "_ZSt")
"""What no command ever says."""
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

    def __str__(self) -> str:
        return f"{' '.join(self.words)} ended with {self.code}: {self.err[-3000:]}"


def run_in(row: Row, words: Sequence[str], folder: Path, locales: Path) -> Ended:
    """Run a command of ours in a row, from `folder`. Raises AssertionError where it says what only a bug says, or
    leaves a process behind."""
    mark = secrets.token_hex(8)
    reader, unread = os.pipe()
    os.close(reader)
    nobody = AS_NOBODY if row.before == "nobody" else []
    before = "" if nobody else f"{row.before} && " if row.before else ""
    streams = row.streams.format(unread=unread)
    script = f'{before}exec "$@" {streams}'
    try:
        done = subprocess.run(
            [*nobody, "bash", "-c", script, "bash", str(BIN / words[0]), *words[1:]],
            cwd=folder,
            env={**environment(row, locales), MARK: mark},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[unread],
            timeout=WITHIN_S,
        )
    finally:
        os.close(unread)
    ended = Ended(tuple(map(plain, words)), done.returncode, done.stdout, done.stderr.decode(errors="replace"))
    assert not any(bug in ended.err for bug in BUGS), ended
    until(lambda: not left_behind(mark), GONE_WITHIN_S)
    return ended


def left_behind(mark: str) -> list[str]:
    """The command lines of the processes that still carry this mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found
