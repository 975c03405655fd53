"""The memory allocator of the embedded Valkey: mimalloc where its wheel is installed and loads, else the system's own.

The server's wheel is built with the C library's allocator. With ten million waiting jobs, it allocates from any small
free chunk, and the script's objects, a few hundred short-lived strings and tables per commit, are scattered over the
whole heap: a commit takes a third longer than in an empty ledger. With mimalloc it takes the same time, or less.

An installed wheel may fail to load: it may need a library that a small system lacks, and then the dynamic loader ends
the server before it starts. So each process tries once, with the server's `--version`, and runs without mimalloc when
that fails. Only speed depends on it, so a failure does not prevent a crawl.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from protocol.logs import fields

log = logging.getLogger(__name__)

PACKAGE: Final = "cmeel-mimalloc"
LIBRARY: Final = "libmimalloc.so"
SEPARATORS: Final = frozenset(" :")
"""The separators of LD_PRELOAD, which a library's path cannot contain."""

BROUGHT_BY: Final = {"libatomic.so.1": "libatomic1"}
"""What the wheel's library needs beyond the C library, and the Debian package that provides it."""

TRIAL_TIMEOUT_S: Final = 10.0
"""A trial takes some milliseconds; a server that has not printed its version by then is not waited for."""

MISSING_LIBRARY: Final = re.compile(r"error while loading shared libraries: ([^\s:]+): cannot open")
"""The dynamic loader's message for a library that it does not find."""


def library() -> Path | None:
    """The allocator to preload; None where this machine has none, or LD_PRELOAD cannot hold its path."""
    try:
        files = distribution(PACKAGE).files or ()
    except PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate())).resolve()
        if file.name == LIBRARY and path.is_file() and not SEPARATORS & set(str(path)):
            return path
    return None


def environment(server: Path) -> dict[str, str]:
    """The environment for that server: this process' own, with the allocator, if the server starts with it, before
    what is already preloaded."""
    preloaded = library()
    if preloaded is None or not _loads(server, preloaded):
        return dict(os.environ)
    return _preloading(preloaded)


def _preloading(preloaded: Path) -> dict[str, str]:
    before = os.environ.get("LD_PRELOAD", "")
    return {**os.environ, "LD_PRELOAD": f"{preloaded}:{before}" if before else str(preloaded)}


@functools.cache
def _loads(server: Path, preloaded: Path) -> bool:
    """Whether the server starts with that allocator; logs once why it does not."""
    why = _complaint(server, preloaded)
    if why is None:
        return True
    missing = MISSING_LIBRARY.search(why)
    brought_by = BROUGHT_BY.get(missing[1]) if missing else None
    if missing and brought_by:
        why = f"it needs {missing[1]}, which is not here; on Debian: apt-get install {brought_by}"
    log.info(
        "the embedded Valkey does without mimalloc: it works as well, and slower once millions of jobs wait",
        extra=fields(why=why, library=preloaded),
    )
    return False


def _complaint(server: Path, preloaded: Path) -> str | None:
    """The error of the server, or of the loader, with that allocator; None: it starts with it.

    The loader ends the server when a dependency of the library is missing; a library that it cannot load at all it
    reports and skips. Both go to standard error, to which a server that prints its version writes nothing."""
    try:
        tried = subprocess.run(
            [str(server), "--version"],
            env=_preloading(preloaded),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRIAL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"with it the server does not say its version within {TRIAL_TIMEOUT_S:g} s"
    said = tried.stderr.decode(errors="replace").strip()
    if tried.returncode == 0 and str(preloaded) not in said:
        return None
    return said.splitlines()[0] if said else f"with it the server ends with {tried.returncode}"
