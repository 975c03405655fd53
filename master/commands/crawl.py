"""`tmatic-crawl`: a whole crawl on one machine, in one command."""

from __future__ import annotations

import logging
import os
import shlex
from dataclasses import replace

import click

from master.crawl.crawl import Crawl, CrawlRequest
from master.startup.preflight import check_beginning, check_rule, lines_of
from protocol.cli import run
from protocol.errors import UsageError
from protocol.jobs import Operation
from protocol.logs import set_up
from protocol.settings.completion import PATH
from protocol.settings.configuration import settings_options
from protocol.settings.settings import TABLE, Settings, names_for
from protocol.transport.http_routes import unused, ways_of

log = logging.getLogger(__name__)

OFFERED = tuple(
    name
    for name in dict.fromkeys((*names_for("master"), *names_for("worker")))
    if name not in ("master", "ha", "peer")  # this command sets the addresses itself
)


@click.command()
@click.argument("targets", required=False, type=PATH)
@click.option("-T", "timeline", is_flag=True, help="Download timelines.")
@click.option("-F", "follower", is_flag=True, help="Download follower lists.")
@click.option("-A", "analyse", is_flag=True, help="Look up the followers that -F lists, and find accounts among them.")
@click.option("-U", "update", is_flag=True, help="Download what is newer than what is there. Stands alone.")
@click.option("--seeds", metavar="FILE", type=PATH, help="Accounts that are known already, and never to be discovered.")
@click.option("--adopt", is_flag=True, help="Go on with a ledger that this dataset does not know.")
@click.option("--workers", type=click.IntRange(1, 1000), default=4, show_default=True, help="How many workers.")
@click.option("--ha", "pair", is_flag=True, help="Run a pair of masters: when one dies the other leads at once.")
@click.option("--emulator", is_flag=True, help="Crawl an emulated world instead of a service.")
@click.option("--emulator-options", metavar="TEXT", default="", help="What tmatic-emulator is told, as one text.")
@settings_options(*OFFERED)
@click.pass_context
def tmatic_crawl(
    context: click.Context,
    targets: str | None,
    timeline: bool,
    follower: bool,
    analyse: bool,
    update: bool,
    seeds: str | None,
    adopt: bool,
    workers: int,
    pair: bool,
    emulator: bool,
    emulator_options: str,
    settings: Settings,
) -> None:
    """Crawl on this machine: a ledger, a master and workers, watched and started again when they die.

    TARGETS is a file of ids, one a line. Called again with the same --output it goes on where it stopped.

    \b
    tmatic-crawl targets.txt -T -F -A --traversing BFS --depth 2 --output data --workers 4
    tmatic-crawl targets.txt -T -F -A --output rehearsal --emulator --emulator-options '--users 1000'
    tmatic-crawl targets.txt -T -F -A --output data --ha           with a second master that stands by

    Ctrl-C stops everything cleanly; a second one stops it now; neither loses anything.

    The exit code is 0 when all is done, 3 when jobs failed for good (dead letters), 4 when nothing was got at all.
    """
    set_up("tmatic-crawl", settings)
    letters = tuple(x for x, said in zip("TFAU", (timeline, follower, analyse, update), strict=True) if said)
    if emulator_options and not emulator:
        raise UsageError("--emulator-options is for --emulator, which was not said")
    if emulator:
        for flag in ("base_url", "proxy", "ca_file"):
            if context.params[flag]:
                raise UsageError(
                    f"--emulator and {TABLE[flag].flag} exclude each other: an emulator of our own is reached as it is"
                )
        settings = for_emulator(settings)
    if workers > settings.max_clients:
        raise UsageError(f"--workers {workers} are more than --max-clients {settings.max_clients}: raise the latter")
    stream, known = lines_of(targets, "TARGETS"), lines_of(seeds, "--seeds")
    operations = frozenset(map(Operation, letters))
    check_beginning(settings, operations, stream, known, adopt=adopt, named_by="TARGETS")
    check_rule(settings)
    ways_of(settings.proxy, settings.ca_file)
    for words in () if emulator else unused(settings.proxy, settings.ca_file, os.environ):
        log.info(words)
    told = split_options(emulator_options) if emulator else None
    asked = CrawlRequest(targets, tuple(f"-{x}" for x in letters), seeds, adopt, workers, told, pair)
    context.exit(Crawl(settings, asked).run())


def for_emulator(settings: Settings) -> Settings:
    """The same settings for the emulator: it gets no token that is meant for another service, and is reached without a
    proxy."""
    no_token = replace(settings, bearer_token="", bearer_token_file=None)
    return replace(no_token, base_url=TABLE["base_url"].default, proxy=(), ca_file=())


def split_options(text: str) -> list[str]:
    """The arguments in `--emulator-options`. Raises UsageError."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--emulator-options {text[:80]!r} cannot be split into words: {error}") from error


def main() -> None:
    """The entry point."""
    run(tmatic_crawl, "tmatic-crawl")


if __name__ == "__main__":
    main()
