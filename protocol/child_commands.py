"""The command lines of the Python processes that a process of ours starts.

Not `python -m`: that looks first in the folder where somebody called, and whoever may write there has their `redis.py`
run. `tmatic_starting` tells what is searched instead, and why.
"""

from __future__ import annotations

import os
import sys
from typing import Final

FRONT: Final = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tmatic_starting.py")


def child(module: str, *words: str) -> list[str]:
    """The command line that runs the `main` of a module of ours with these words. It keeps to itself as much as its
    parent was told to: `-I`, `-E` and `-s` are passed on."""
    told = sys.flags
    isolation = {"-I": told.isolated, "-E": told.ignore_environment, "-s": told.no_user_site}
    return [sys.executable, "-P", *(flag for flag, said in isolation.items() if said), FRONT, module, *words]
