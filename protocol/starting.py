"""How every command starts: what it needs takes a moment to come in, and Ctrl-C is no traceback meanwhile.

The entry points of `setup.cfg` are here and not with their commands, since a command's module has brought everything
in before its first line runs. This one brings in what opens the standard streams, and knows the others by name only.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from protocol.streams import open_streams

INTERRUPTED = 130


def _starting(module: str) -> Callable[[], None]:
    """The entry point of the command in a module, which has a `main`."""

    def start() -> None:
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

    return start


def _leave(_number: int, _frame: object) -> NoReturn:
    """Nothing was begun. An exception could end up in the middle of somebody's import, and be taken for its failure."""
    os._exit(INTERRUPTED)


tmatic_master = _starting("master.command")
tmatic_crawl = _starting("master.crawl_command")
tmatic_rehearse = _starting("master.rehearse_command")
tmatic_worker = _starting("worker.command")
tmatic_data = _starting("storage.data_command")
tmatic_emulator = _starting("services.emulator.cli")
tmatic_events = _starting("services.subscriber.command")
tmatic_stats = _starting("services.stats.command")
tmatic_lookup = _starting("services.lookup.command")
tmatic_indexer = _starting("services.indexer.command")
tmatic_monitor = _starting("services.monitor.command")
