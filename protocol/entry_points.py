"""How every command starts: its imports take a moment, and Ctrl-C must not print a traceback meanwhile.

`tmatic_starting` calls this after setting the module search path. Of this project, only the code that opens the
standard streams is imported here, since the command's module imports everything before its first line runs.
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
    open_streams()  # before an imported module opens something that would get their numbers
    main = importlib.import_module(module).main
    try:
        if heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _leave(_number: int, _frame: object) -> NoReturn:
    """Nothing has begun. An exception could be raised in the middle of an import, and be taken for its failure."""
    os._exit(INTERRUPTED)
