"""How every command starts: what it needs takes a moment to come in, and Ctrl-C is no traceback meanwhile.

`tmatic_starting` calls this when it has seen to what is searched for modules. Of ours this one brings in only what
opens the standard streams, since a command's module has brought everything in before its first line runs.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import NoReturn

from protocol.streams import open_streams

INTERRUPTED = 130


def start(module: str) -> None:
    """Run the command in a module, which has a `main`."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell may have it ignored
    if heard:
        signal.signal(signal.SIGINT, _leave)
    open_streams()  # before a module that comes in opens something that would get their numbers
    main = importlib.import_module(module).main
    try:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _leave(_number: int, _frame: object) -> NoReturn:
    """Nothing was begun. An exception could end up in the middle of somebody's import, and be taken for its failure."""
    os._exit(INTERRUPTED)
