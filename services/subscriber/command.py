"""`tmatic-events`: the stream of a crawl, for people and for pipes."""

from __future__ import annotations

import threading

import click

from protocol.admin_client import ask_masters
from protocol.cli import run
from protocol.errors import LedgerError, UsageError
from protocol.logs import set_up
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from protocol.stopping import listening
from protocol.transport.endpoints import local_pair
from protocol.transport.exposure import certificate_for
from services.subscriber.printing import Printing
from services.subscriber.subscriber import Subscriber

SETTINGS = ("host", "port", "master", "key", "insecure", "log_level", "log_format")
TOPICS = ("job.", "timeline.", "followers.", "user.", "master.")
LAST_SEQUENCE = (1 << 63) - 1
"""The highest sequence that the ledger can assign."""


@click.group()
def command() -> None:
    """Listen to a crawl: what was committed, in its order, nothing missed and nothing twice.

    \b
    Everything from now on:
      tmatic-events tail
    \b
    The accounts that are done, as JSON, from the first one on:
      tmatic-events tail --topic job.done --from 0 --json
    """


@command.command()
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="Only topics that begin so, for instance job. or timeline.page; stats. and log. as well. May be said again.",
)
@click.option("--from", "first", type=click.IntRange(0), help="Begin behind this sequence; 0 is the beginning.")
@click.option("--json", "in_json", is_flag=True, help="A JSON object a line.")
@settings_options(*SETTINGS)
def tail(topics: tuple[str, ...], first: int | None, in_json: bool, settings: Settings) -> None:
    """Print events as they come, until Ctrl-C."""
    if first is not None and first > LAST_SEQUENCE:
        raise UsageError(f"--from must be a sequence, from 0 to {LAST_SEQUENCE}")
    for topic in topics:
        if not topic.isprintable():
            raise UsageError(f"--topic must be the beginning of a topic, for instance job., and not {topic[:80]!r}")
    set_up("tmatic-events", settings)
    stopped = threading.Event()
    printing = Printing(topics or TOPICS, None, in_json=in_json)
    subscriber = Subscriber(settings, printing)
    if first is None:
        subscriber.from_now_on()
    elif first:
        subscriber.begin_behind(first)
    with listening(lambda _: stopped.set()):
        subscriber.run(stopped)


@command.command()
@click.argument("name")
@settings_options(*SETTINGS)
def forget(name: str, settings: Settings) -> None:
    """Do not keep the log for the reader NAME any more: it was taken out of service."""
    if not name.isprintable():
        raise UsageError(f"no reader is called {name[:80]!r}")
    places = settings.master or local_pair(settings.host, settings.port)
    certificate = certificate_for(places, settings.key, settings.insecure)
    for place, said in ask_masters(places, "where", certificate=certificate).items():
        if said.get("role") == "leading":
            ask_masters([place], f"forget {name}", certificate=certificate)  # raises the master's refusal
            return
    raise LedgerError(f"no master that leads answers at {', '.join(places)}")


def main() -> None:
    """The entry point."""
    run(command, "tmatic-events")


if __name__ == "__main__":
    main()
