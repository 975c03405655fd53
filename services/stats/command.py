"""`tmatic-stats`: record a crawl's numbers, send them to Graphite now or later, and draw them."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from protocol.cli import run
from protocol.errors import TmaticError, UsageError
from protocol.logs import fields, set_up
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from protocol.stopping import listening
from protocol.streams import is_screen
from protocol.transport.addresses import is_host, is_place
from protocol.transport.endpoints import bare
from services.stats.carbon.connection import Address
from services.stats.carbon.live import LiveDelivery
from services.stats.carbon.replay import ReplayRequest, replay
from services.stats.collecting import Collecting
from services.stats.plot import draw
from services.stats.recording.recording import Recording
from services.stats.times import speed, unix_time
from services.subscriber.subscriber import Subscriber
from storage.dataset.open import open_dataset

CARBON: Final = ("carbon_server", "carbon_port", "carbon_protocol")
COLLECTING: Final = (
    *("crawl", "output_directory", "host", "port", "master", "key", "insecure"),
    *CARBON,
    *("log_directory", "log_level", "log_format"),
)
ENDLESS: Final = 1 << 40

log = logging.getLogger(__name__)

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_RECORDING: Final = click.Path(exists=True, path_type=Path, dir_okay=False)


@click.group(help="Record a crawl's numbers, send them to Graphite now or later, and draw them.")
def commands() -> None:
    """The group that the commands below hang on."""


@commands.command("collect")
@click.option("-f", "--file", "path", type=_FILE, required=True, metavar="FILE.gz", help="Where to record.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="N",
    help="Also answer Prometheus at http://127.0.0.1:N/metrics; 0 takes any free port.  [default: it does not]",
)
@settings_options(*COLLECTING)
def collect_command(path: Path, metrics_port: int | None, settings: Settings) -> None:
    """Record the numbers of a crawl in FILE.gz, once a second and at each result, until SIGTERM or Ctrl-C.

    Lines are NAME VALUE UNIXTIME. Begun again with the same file it goes on where it stopped, and what it missed is
    added. With --carbon-server the lines also go to carbon; what carbon misses while it is away is sent later.
    """
    set_up("tmatic-stats", settings)
    with collecting(path, settings) as consumer:
        attend(Subscriber(settings, consumer, open_dataset(settings)), consumer, metrics_port)


@contextlib.contextmanager
def collecting(path: Path, settings: Settings) -> Iterator[Collecting]:
    """The consumer with its recording and, if configured, its carbon; at exit everything is sent and on disk."""
    with contextlib.ExitStack() as opened:
        recording = Recording(path)
        opened.callback(recording.close)
        if recording.cut:
            log.warning("a record at the end was not whole, and was cut off", extra=fields(bytes=recording.cut))
        log.info("records", extra=fields(file=path, position=recording.position))
        dataset = open_dataset(settings)
        live: LiveDelivery | None = None
        if settings.carbon_server:
            live = LiveDelivery(path, recording.end, carbon_at(settings))
            opened.callback(live.close)
        consumer = Collecting(recording, dataset, settings.crawl, grown=live.grown if live else lambda end: None)
        opened.callback(consumer.flush)
        yield consumer


def attend(subscriber: Subscriber, consumer: Collecting, metrics_port: int | None) -> None:
    """Run the subscriber until a signal, and the page for Prometheus if a port is given."""
    stopped = threading.Event()
    failed: list[TmaticError] = []

    def tick() -> None:
        try:
            while not stopped.wait(1.0):
                consumer.tick()
        except TmaticError as error:
            failed.append(error)
            stopped.set()

    def listen() -> None:
        subscriber.run(stopped)

    if metrics_port is None:
        ticking = threading.Thread(target=tick, name="tick", daemon=True)
        ticking.start()
        try:
            with listening(lambda _: stopped.set()):
                listen()
        finally:
            stopped.set()
            ticking.join()
    else:
        from services.http import serve
        from services.stats.scrape import metrics_page

        page = metrics_page(consumer.now)
        serve(page, "tmatic-stats", port=metrics_port, beside=[listen, tick], ending=[stopped.set])
    if failed:
        raise failed[0]


@commands.command("replay")
@click.argument("path", type=_RECORDING, metavar="FILE.gz")
@click.option("--carbon", metavar="HOST:PORT", help="Where carbon listens.  [default: carbon_server and carbon_port]")
@click.option("--speed", "fast", default="max", show_default=True, metavar="60x|max", help="How fast time goes by.")
@click.option(
    "--shift-to",
    metavar="TIME",
    help="Move all times so that the last one is TIME: now, 2026-11-24T18:30 or unix seconds; in whole minutes.",
)
@click.option("--from", "begins", metavar="TIME", help="Leave out what is older.")
@click.option("--to", "ends", metavar="TIME", help="Leave out what is from TIME on.")
@click.option("--again", is_flag=True, help="Send also what was sent to this carbon before.")
@settings_options(*CARBON)
def replay_command(
    path: Path,
    carbon: str | None,
    fast: str,
    shift_to: str | None,
    begins: str | None,
    ends: str | None,
    again: bool,
    settings: Settings,
) -> None:
    """Send a recording to carbon.

    \b
    tmatic-stats replay crawl.gz --carbon graphite:2003
    tmatic-stats replay crawl.gz --carbon localhost:2003 --shift-to now      to look at an old crawl as if it were now
    tmatic-stats replay crawl.gz --speed 60x --shift-to now                  an hour in a minute

    Recordings of the original are understood too. What was sent once to a carbon is not sent to it again, unless
    --again says so; the journal beside the recording, FILE.gz.sent, knows.
    """
    now = time.time()
    asked = ReplayRequest(
        path,
        carbon_at(settings, carbon),
        speed(fast),
        unix_time(shift_to, "--shift-to", now) if shift_to else None,
        unix_time(begins, "--from", now) if begins else 0,
        unix_time(ends, "--to", now) if ends else ENDLESS,
        again,
    )
    click.echo(replay(asked, _progress()))


@commands.command("plot")
@click.argument("path", type=_RECORDING, metavar="FILE.gz")
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE.svg|.png", help="The picture to make.")
@click.option("--from", "begins", metavar="TIME", help="Leave out what is older.")
@click.option("--to", "ends", metavar="TIME", help="Leave out what is from TIME on.")
@click.option("--title", metavar="TEXT", help="What stands above it.  [default: the recording's name]")
def plot_command(path: Path, output: Path, begins: str | None, ends: str | None, title: str | None) -> None:
    """Draw a crawl: pages and records a second, the frontier, and what is done, by operation."""
    now = time.time()
    since = unix_time(begins, "--from", now) if begins else 0
    until = unix_time(ends, "--to", now) if ends else ENDLESS
    if title and not all(line.isprintable() for line in title.split("\n")):
        raise UsageError(f"--title must be text, and not {title[:80]!r}")
    click.echo(_plain(draw(path, output, since, until, title or _plain(path.name))))


def carbon_at(settings: Settings, carbon: str | None = None) -> Address:
    """The address of carbon, from the flag or the settings. Raises UsageError."""
    pickle = settings.carbon_protocol == "pickle"
    if carbon is None:
        if not settings.carbon_server:
            raise UsageError("where is carbon? Say --carbon HOST:PORT, or set carbon_server")
        return Address(settings.carbon_server, settings.carbon_port, pickle)
    if is_place(carbon):
        host, _, port = carbon.rpartition(":")
        return Address(bare(host), int(port), pickle)
    if is_host(carbon):
        return Address(bare(carbon), settings.carbon_port, pickle)
    raise UsageError(f"--carbon must be HOST:PORT, an IPv6 address in brackets, not {carbon[:80]!r}")


def _plain(text: str) -> str:
    """A printable text, even if it contains an unprintable file name."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _progress() -> Callable[[str], None]:
    """Reports progress on a terminal's last line, and nowhere else. An empty text clears that line."""
    if not is_screen(sys.stderr):
        return lambda words: None
    return lambda words: click.echo(f"\r\x1b[K{words}", err=True, nl=False)


def main() -> None:
    """The entry point."""
    run(commands, "tmatic-stats")


if __name__ == "__main__":
    main()
