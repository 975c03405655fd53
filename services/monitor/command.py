"""`tmatic-monitor`: the command line. One process that follows the crawl and serves the pages."""

from __future__ import annotations

from pathlib import Path

import click

from protocol import logs
from protocol.cli import run
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from protocol.transport.endpoints import local_pair
from protocol.transport.exposure import certificate_for
from services.listening import Listening, listening_options

SETTINGS = (
    "monitor_port",
    "output_directory",
    "log_scrollback",
    "graphite_url",
    "index_directory",
    "index_engine",
    "elasticsearch_url",
    "ca_file",
    "crawl",
    "host",
    "port",
    "master",
    "key",
    "insecure",
    "log_directory",
    "log_level",
    "log_format",
)


@click.command()
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("monitor.db"),
    show_default=True,
    metavar="FILE",
    help="Where it keeps who led to whom and the course of the crawl, so that a restart forgets neither.",
)
@listening_options("and the token is asked for to look too, as it is with --name and --base-path")
@settings_options(*SETTINGS)
def command(database: Path, listening: Listening, settings: Settings) -> None:
    """Show a crawl in the browser while it runs: who leads, the frontier, rates, workers, the log, dead letters.

    It prints an address with a token, which is new each time: whoever opens it may requeue and drop jobs; on this
    machine others may look. /inspect searches the index that tmatic-indexer keeps. Ctrl-C ends it.

    \b
    For a crawl on this machine, then http://127.0.0.1:9898:
      tmatic-monitor
    \b
    For a crawl elsewhere, whose dataset is mounted here:
      tmatic-monitor --master crawl.example.org:8000 --key monitor.key --output /mnt/crawl/data
    """
    logs.set_up("tmatic-monitor", settings)
    monitor(settings, database, listening)


def monitor(settings: Settings, database: Path, listening: Listening) -> None:
    """Follow the crawl and serve the pages until stopped. Raises TmaticError in one sentence."""
    # Imported here and not above: they load gevent, ZeroMQ and the engines, which would only delay --help.
    import threading

    import gevent

    from services.http import Names, serve
    from services.indexer.search import Search as Index
    from services.monitor.accounts import Accounts
    from services.monitor.feed import Feed
    from services.monitor.guard import AccessGuard
    from services.monitor.index import IndexSearch
    from services.monitor.master import AskedMaster
    from services.monitor.pages import Pages
    from services.monitor.store import MonitorStore
    from services.monitor.stream import PageStreams
    from services.subscriber.subscriber import Subscriber
    from storage.dataset.open import open_dataset

    places = settings.master or local_pair(settings.host, settings.port)
    certificate = certificate_for(places, settings.key, settings.insecure)
    store = MonitorStore(database)
    try:
        feed = Feed(store, settings.log_scrollback)
        streams = PageStreams(feed, gevent.sleep)
        guard = AccessGuard(Names(listening.address, listening.names), proxied=bool(listening.base_path))
        stopped = threading.Event()
        dataset = open_dataset(settings)
        subscriber = Subscriber(settings, feed, dataset)
        pages = Pages(
            feed,
            guard,
            AskedMaster(places, certificate),
            Accounts(dataset, store),
            streams,
            search=IndexSearch(Index(settings)),
            graphite_url=settings.graphite_url,
        )
        serve(
            pages.app,
            "tmatic-monitor",
            host=listening.address,
            allowed=listening.names,
            base_path=listening.base_path,
            port=settings.monitor_port,
            insecure=settings.insecure,
            beside=[lambda: subscriber.run(stopped)],
            ending=[streams.end, stopped.set],
            # To the terminal and to no log: anybody who reads the token may change the crawl.
            ready=lambda url: click.echo(f"tmatic-monitor shows the crawl at {url}/#token={guard.token}", err=True),
        )
        feed.keep()
    finally:
        store.close()


def main() -> None:
    """The entry point."""
    run(command, "tmatic-monitor")


if __name__ == "__main__":
    main()
