"""The Python processes that a process of ours starts: their command lines, and that they end with it.

Not `python -m`: that looks first in the folder where somebody called, and whoever may write there has their `redis.py`
run. `tmatic_starting` tells what is searched instead, and why.
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
    """The command line that runs the `main` of a module of ours with these words. It keeps to itself as much as its
    parent was told to: `-I`, `-E` and `-s` are passed on."""
    told = sys.flags
    isolation = {"-I": told.isolated, "-E": told.ignore_environment, "-s": told.no_user_site}
    return [sys.executable, "-P", *(flag for flag, said in isolation.items() if said), FRONT, module, *words]


def end_with(parent: int) -> Callable[[], None]:
    """What a child does first, so that it is told to end when its parent dies, and also when that has just died."""

    def told() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)

    return told
