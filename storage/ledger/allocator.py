"""The memory allocator that the embedded Valkey runs with: mimalloc where its wheel is there and loads, else the
system's own.

The server's wheel is built upon the C library's allocator. With ten million jobs waiting that one hands out memory from
wherever a small piece is free, and the script's work, a few hundred short-lived strings and tables a commit, is strewn
over the whole heap: a commit takes a third longer than in an empty ledger. With mimalloc it takes the same, and less.

A wheel can be there and not load: it may need a library that a small system does not have, for which the dynamic loader
ends the server before its first line. So each process tries once, with the server's `--version`, and goes without when
that fails. It is a matter of speed alone, and no reason not to crawl.
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
"""What stands between the libraries of LD_PRELOAD, and can be in the path of none."""

BROUGHT_BY: Final = {"libatomic.so.1": "libatomic1"}
"""What the wheel's library needs beyond the C library, and the Debian package that brings it."""

TRIAL_TIMEOUT_S: Final = 10.0
"""A trial takes some milliseconds; a server that does not even say its version by then is not kept waiting for."""

MISSING_LIBRARY: Final = re.compile(r"error while loading shared libraries: ([^\s:]+): cannot open")
"""The dynamic loader's words for a library that it does not find."""


def library() -> Path | None:
    """The allocator to preload; None where there is none for this machine, or its path cannot be said."""
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
    """The environment for that server: this process' own, with the allocator, where the server starts with it, before
    what is preloaded anyway."""
    preloaded = library()
    if preloaded is None or not _loads(server, preloaded):
        return dict(os.environ)
    return _preloading(preloaded)


def _preloading(preloaded: Path) -> dict[str, str]:
    before = os.environ.get("LD_PRELOAD", "")
    return {**os.environ, "LD_PRELOAD": f"{preloaded}:{before}" if before else str(preloaded)}


@functools.cache
def _loads(server: Path, preloaded: Path) -> bool:
    """Whether the server starts with that allocator; says once why it does not."""
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
    """What the server, or the loader before it, has to say against that allocator; None: it starts with it.

    The loader ends the server for what the library lacks, and for a library that it cannot take at all it complains and
    goes on. Both are told on standard error, on which a server that only says its version writes nothing."""
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
