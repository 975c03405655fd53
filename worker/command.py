"""`tmatic-worker`: the command line."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import time

import click
import zmq

from protocol import logs
from protocol.cli import run
from protocol.errors import UsageError
from protocol.jobs import Operation
from protocol.mailbox import Mailbox
from protocol.settings.configuration import settings_options
from protocol.settings.settings import NAME, Settings, names_for
from protocol.transport.endpoints import local_pair
from protocol.transport.exposure import certificate_for
from protocol.transport.http_routes import unused
from protocol.transport.refusals import watched_dealer
from protocol.transport.sockets import routing_id
from storage.dataset.open import open_dataset
from worker.loop import WorkerLoop
from worker.modules import modules
from worker.rules import read_rule
from worker.session import Session
from worker.sources import DEFAULT, SOURCES
from worker.threads import Threads
from worker.work import JobTools, Told

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
    \b
    For a pair of masters, name both:
      tmatic-worker w3 --master a.example.org:8000 --master b.example.org:8001 --output /mnt/crawl/data
    """
    if not re.fullmatch(NAME.pattern, name, re.ASCII):
        raise UsageError(f"NAME must be {NAME.words}, not {name[:80]!r}")
    logs.set_up(f"tmatic-worker-{name}", settings)
    return work(name, settings)


def work(name: str, settings: Settings) -> int:
    """Run a worker until it must leave; returns its exit code. Raises TmaticError in one sentence."""
    source = SOURCES[DEFAULT](settings)
    rule = read_rule(settings.follow_rule)
    dataset = open_dataset(settings)
    dataset.check()
    session = Session(
        name,
        secrets.token_hex(8),
        source.service,
        [operation.value for operation in Operation],
        settings.concurrency,
        source.callers(),
        heartbeat=settings.heartbeat_s,
        budgets=source.budgets,
    )
    mailbox: Mailbox[Told] = Mailbox()
    places = settings.master or local_pair(settings.host, settings.port)
    certificate = certificate_for(places, settings.key, settings.insecure)
    for words in unused(settings.proxy, settings.ca_file, os.environ):
        log.info(words)
    with zmq.Context() as context, contextlib.ExitStack() as open_sockets:
        sockets, refusals = [], []
        for place in places:
            socket, refused = watched_dealer(context, place, routing_id(), certificate=certificate)
            sockets.append(open_sockets.enter_context(socket))
            refusals.append(refused)
            open_sockets.callback(refused.close)
        session.masters = len(sockets)
        tools = JobTools(
            dataset,
            source,
            modules(dataset, rule, source.profiles_at_once),
            mailbox.tell,
            lambda: session.crawl,
        )
        threads = Threads(settings.concurrency, tools, lambda: session.may_ask(time.monotonic()))
        about = {"masters": ",".join(places), "room": settings.concurrency, "service": settings.base_url}
        log.info(f"worker {name} looks for its master", extra=logs.fields(**about))
        loop = WorkerLoop(
            session, sockets, refusals, threads, mailbox, dataset.ledger_id, die_with_master=settings.die_with_master
        )
        return loop.run()


def main() -> None:
    """The entry point."""
    run(command, "tmatic-worker")


if __name__ == "__main__":
    main()
