"""A monitor on a real socket, fed by the tests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent

from services.http import Names, Server
from services.monitor.accounts import Accounts
from services.monitor.feed import Feed
from services.monitor.guard import AccessGuard
from services.monitor.master import Master
from services.monitor.pages import Pages
from services.monitor.search import SearchPage
from services.monitor.store import MonitorStore
from services.monitor.stream import PageStreams
from storage.dataset.files.dataset import FileDataset
from tests.services.monitor import synthetic
from tests.services.monitor.synthetic import ScriptedMaster

STARTED_S = 10.0
TOKEN = "the-token-of-the-tests"


class Running:
    """The parts of a monitor that answers at `url` until the context ends."""

    def __init__(
        self, feed: Feed, master: Master, streams: PageStreams, server: Server, thread: threading.Thread, app: Any
    ) -> None:
        self.feed, self.master, self.streams, self.app = feed, master, streams, app
        self.url = server.url
        self._server, self._thread = server, thread

    def stop(self) -> None:
        """End it, as SIGTERM would."""
        self._server.stop()
        self._thread.join(STARTED_S)


def fill(served: Running, lines: int, workers: int, seconds: int) -> None:
    """Let a monitor hear of a crawl: what it announced, its log, and how it stood in each of so many seconds."""
    served.feed.apply(synthetic.events(), synthetic.POSITION)
    for line in synthetic.lines(lines):
        served.feed.hear("log.master", line)
    for second in range(seconds):
        served.feed.hear("stats.gauges", synthetic.document(workers, second))


@contextlib.contextmanager
def running(
    output: Path,
    *,
    scrollback: int = 10_000,
    master: Master | None = None,
    search: SearchPage | None = None,
    graphite_url: str = "",
    names: Sequence[str] = (),
    base_path: str = "",
    guard: AccessGuard | None = None,
    port: int = 0,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Running]:
    """Serve in a thread of its own, which has a gevent hub of its own."""
    store = MonitorStore(None)
    feed = Feed(store, scrollback, clock, monotonic)
    asked = master or ScriptedMaster()
    streams = PageStreams(feed, gevent.sleep)
    pages = Pages(
        feed,
        guard or AccessGuard(Names("127.0.0.1", names), TOKEN),
        asked,
        Accounts(FileDataset(output), store),
        streams,
        search=search,
        graphite_url=graphite_url,
    )
    opened = threading.Event()
    servers: list[Server] = []

    def serve() -> None:
        server = Server(pages.app, port=port, allowed=names, base_path=base_path)
        server.open()
        servers.append(server)
        opened.set()
        server.run([streams.end])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert opened.wait(STARTED_S), "the server did not come up"
    try:
        served = Running(feed, asked, streams, servers[0], thread, pages.app)
        yield served
    finally:
        served.stop()
        store.close()
