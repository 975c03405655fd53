"""`tmatic-worker`: the command line."""

from __future__ import annotations

import logging
import re
import secrets
import time

import click
import zmq

from protocol import logs
from protocol.command import run
from protocol.configuration import settings_options
from protocol.errors import UsageError
from protocol.jobs import Operation
from protocol.settings import NAME, Settings, names_for
from protocol.sockets import dealer
from storage.files import FileDataset
from worker.keeping import Keeping
from worker.loop import Loop, Mailbox
from worker.modules import modules
from worker.rules import read_rule
from worker.sources import DEFAULT, SOURCES
from worker.threads import Threads
from worker.work import Tools

log = logging.getLogger(__name__)


@click.command()
@click.argument("name")
@settings_options(*names_for("worker"))
def command(name: str, settings: Settings) -> int:
    """Do the jobs of a crawl, as the worker NAME.

    NAME tells this worker from the others of the crawl. It looks for its master until there is one, and leaves when
    the crawl is over. Ctrl-C gives back what it has in hand; a second one leaves at once, and loses nothing either.

    \b
    On this machine, for a master on this machine:
      tmatic-worker w1
    \b
    Elsewhere, on a shared output directory:
      tmatic-worker w2 --master crawl.example.org:8000 --output /mnt/crawl/data
    """
    if not re.fullmatch(NAME.pattern, name, re.ASCII):
        raise UsageError(f"NAME must be {NAME.words}, not {name[:80]!r}")
    logs.set_up(f"tmatic-worker-{name}", settings)
    return work(name, settings)


def work(name: str, settings: Settings) -> int:
    """Run a worker until it is to leave; returns its exit code. Raises TmaticError in one sentence."""
    source = SOURCES[DEFAULT](settings)
    rule = read_rule(settings.follow_rule)
    dataset = FileDataset(
        settings.output_directory, temporary=settings.temporary_directory, compress=settings.use_compression
    )
    dataset.check()
    keeping = Keeping(
        name,
        secrets.token_hex(8),
        source.service,
        [operation.value for operation in Operation],
        settings.concurrency,
        source.callers(),
        heartbeat=settings.heartbeat_s,
    )
    mailbox = Mailbox()
    place = settings.master or _place(settings)
    with zmq.Context() as context, dealer(context, place, secrets.token_bytes(8), queueing=False) as socket:
        tools = Tools(
            dataset,
            source,
            modules(dataset, rule, source.profiles_at_once),
            mailbox.tell,
            lambda: keeping.crawl,
        )
        threads = Threads(settings.concurrency, tools, lambda: keeping.may_ask(time.monotonic()))
        about = {"master": place, "room": settings.concurrency, "service": settings.base_url}
        log.info(f"worker {name} looks for its master", extra=logs.fields(**about))
        return Loop(keeping, [socket], threads, mailbox, dataset.ledger_id).run()


def _place(settings: Settings) -> str:
    """Where the master listens, as a worker on its machine reaches it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


def main() -> None:
    """The entry point."""
    run(command, "tmatic-worker")


if __name__ == "__main__":
    main()
