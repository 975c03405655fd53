"""A process that writes to an index and is killed: `python -m tests.services.indexer.dying_writer ENGINE FOLDER STEP`.

It commits batches of ten posts, each with a mark that says how many posts there are. At the STEP-th act on the file
system from its first commit on it kills itself with SIGKILL, in Whoosh's case before the act is done; STEP 0 means
that it goes on until somebody kills it. What it has committed it tells on standard output.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.indexer.engines.index_location import LocalLocation
from services.indexer.posts import document
from tests.services.indexer.written import line

BATCH = 10
ACTS = ("open", "rename", "replace", "fsync", "unlink", "remove", "mkdir", "rmdir", "rmtree")


def main(engine: str, folder: str, step: int) -> None:
    home = LocalLocation(Path(folder), engine)
    with home.lock():
        index = home.open()
        number = int(index.mark() or 0)
        die_at(step)
        while True:
            new = [document(line(number + n, "12", f"rain {number + n}"), "12") for n in range(1, BATCH + 1)]
            # One that is there already comes in another version, so that something is removed too.
            new.append(document(line(1, "12", f"version {number}"), "12"))
            number += BATCH
            index.commit({post.id: post for post in new}, str(number))
            print(number, flush=True)


def die_at(step: int) -> None:
    left = step

    def counting(act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*arguments, **more)

        return counted

    if step:
        import builtins

        for name in ACTS:
            if hasattr(os, name):
                setattr(os, name, counting(getattr(os, name)))
        builtins.open = counting(builtins.open)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
