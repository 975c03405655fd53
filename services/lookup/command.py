"""`tmatic-lookup`: the command line. One process that follows the crawl and answers requests."""

from __future__ import annotations

import contextlib

import click

from protocol import logs
from protocol.cli import run
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from services.listening import Listening, listening_options

SETTINGS = (
    "lookup_database",
    "lookup_port",
    "output_directory",
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
@listening_options("since nobody is asked for a password")
@settings_options(*SETTINGS)
def command(listening: Listening, settings: Settings) -> None:
    """Answer who stands behind an id or a screen name, for all accounts that a crawl has met.

    It follows the masters' events and keeps the profiles in one file, which may be killed at any time. It listens on
    this machine alone unless told otherwise. Ctrl-C ends it.

    \b
    For a crawl on this machine, then http://127.0.0.1:9797:
      tmatic-lookup
    \b
    For a crawl elsewhere, whose dataset is mounted here:
      tmatic-lookup --master crawl.example.org:8000 --key lookup.key --output /mnt/crawl/data
    """
    logs.set_up("tmatic-lookup", settings)
    look_up(settings, listening)


def look_up(settings: Settings, listening: Listening) -> None:
    """Follow the crawl and answer requests until stopped. Raises TmaticError in one sentence."""
    # Imported here and not above: they load gevent and ZeroMQ, which would only delay --help.
    import threading

    from services.http import serve
    from services.lookup.consumer import LookupConsumer, LookupStoppedError
    from services.lookup.routes import LIMITS, routes
    from services.lookup.store import Store
    from services.subscriber.subscriber import Subscriber
    from storage.dataset.open import open_dataset

    store = Store(settings.lookup_database)
    try:
        stopped = threading.Event()
        dataset = open_dataset(settings)
        consumer = LookupConsumer(store, dataset, stopped)
        subscriber = Subscriber(settings, consumer, dataset)

        def follow() -> None:
            with contextlib.suppress(LookupStoppedError):
                consumer.begin()
                subscriber.run(stopped)

        app = routes(store, consumer.gauges)
        serve(
            app,
            "tmatic-lookup",
            host=listening.address,
            allowed=listening.names,
            base_path=listening.base_path,
            insecure=settings.insecure,
            port=settings.lookup_port,
            limits=LIMITS,
            beside=[follow],
            ending=[stopped.set],
        )
    finally:
        store.close()


def main() -> None:
    """The entry point."""
    run(command, "tmatic-lookup")


if __name__ == "__main__":
    main()
