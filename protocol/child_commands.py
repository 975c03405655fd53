"""The Python processes that a process of this project starts: their command lines, and how they end with it.

Not `python -m`: that searches the current folder first, and anyone who may write there could have their `redis.py`
run. `tmatic_starting` documents what is searched instead, and why.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

FRONT: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tmatic_starting.py")
_PR_SET_PDEATHSIG = 1


def child(module: str, *words: str) -> list[str]:
    """The command line that runs the `main` of one of our modules with these arguments. It is as isolated as its
    parent: `-I`, `-E` and `-s` are passed on."""
    told = sys.flags
    isolation = {"-I": told.isolated, "-E": told.ignore_environment, "-s": told.no_user_site}
    return [sys.executable, "-P", *(flag for flag, said in isolation.items() if said), FRONT, module, *words]


def end_with(parent: int) -> Callable[[], None]:
    """The first call of a child: a signal ends it when its parent dies, also if that has just died."""

    def told() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)

    return told
