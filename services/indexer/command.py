"""`tmatic-indexer`: indexes the posts of a crawl, and searches them."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator

import click
import orjson

from protocol.cli import run
from protocol.errors import UsageError
from protocol.logs import fields, set_up
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from protocol.stopping import leave, listening
from protocol.streams import is_screen
from services.indexer.consumer import Indexer
from services.indexer.engines.index_location import engine_of, home_of
from services.indexer.posts import Document
from services.indexer.query import MAX_HITS
from services.indexer.rebuild import another, opened, rebuild
from services.indexer.search import Search
from storage.dataset.open import open_dataset

log = logging.getLogger(__name__)

_WHERE = ("output_directory", "crawl", "index_directory", "index_engine", "elasticsearch_url", "ca_file")
_LOGS = ("log_directory", "log_level", "log_format")
_MASTERS = ("master", "host", "port", "key", "insecure")
_ALONE = ("-h", "--help", "--version")


class StopSignal:
    """How a follower handles a signal to stop. The current step is completed; but a second signal stops it at once,
    and so does the first while an index is built or compared, which may take hours, and while the search server is
    unavailable, which may last indefinitely: every step can be repeated."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self._number = 0
        self._lasts = False

    def hear(self, number: int) -> None:
        """Handle a signal."""
        self._number = number
        if self.told.is_set() or self._lasts:
            leave(number)  # before the event is used, whose lock the interrupted code may hold
        self.told.set()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """The block takes long, and a signal interrupts it, also one received just before. Blocks may nest."""
        before, self._lasts = self._lasts, True
        try:
            if self.told.is_set():
                leave(self._number)
            yield
        finally:
            self._lasts = before

    def rest(self, seconds: float) -> None:
        """Sleep, unless or until a signal arrives."""
        with self.at_once():
            time.sleep(seconds)


class _FollowByDefault(click.Group):
    """Runs `follow` when no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in _ALONE):
            args = ["follow", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_FollowByDefault)
def commands() -> None:
    """Keep the posts of a crawl in an index, and find them again.

    Without a command it follows the crawl, as `tmatic-indexer follow` does.
    """


@commands.command("follow")
@settings_options(*_WHERE, *_MASTERS, *_LOGS)
def follow_command(settings: Settings) -> None:
    """Follow the crawl: store its posts in the index as they come, until stopped.

    Ctrl-C, or SIGTERM, lets what is under way come to its end, unless an index is being built or the search server is
    away; a second one does not. What was cut short is begun again at the next start.
    """
    # Queries of the index need no sockets.
    from services.subscriber.subscriber import Subscriber

    set_up("tmatic-indexer", settings)
    dataset = open_dataset(settings)
    stop = StopSignal()
    home = home_of(settings, stop.rest)
    with home.lock():
        index = opened(home, dataset)
        log.info("the index is open", extra=fields(place=home.present(), posts=index.count()))
        name = f"indexer-{engine_of(settings)}"
        indexer = Indexer(
            index, dataset, name, anew=lambda position: another(home, dataset, position), lasting=stop.at_once
        )
        with listening(stop.hear):
            Subscriber(settings, indexer, dataset).run(stop.told)
        indexer.close()  # which waits for an engine's own threads; an interrupted run does not


@commands.command("rebuild")
@click.option("--delete", is_flag=True, help="Delete the former index when the new one is in its place.")
@settings_options(*_WHERE, *_LOGS)
def rebuild_command(settings: Settings, delete: bool) -> None:
    """Build the index anew from the dataset.

    The former index answers until the new one is complete, and is kept beside it unless --delete is said. The indexer
    that follows the crawl must be stopped meanwhile; it goes on from where it was.
    """
    set_up("tmatic-indexer", settings)
    dataset = open_dataset(settings)
    if not dataset.is_there and not settings.output_directory.is_dir():
        raise UsageError(f"there is no dataset in {dataset.where}: say where it is (--output)")
    shown = is_screen(sys.stderr)

    def told(accounts: int, posts: int) -> None:
        if shown:
            click.echo(f"\r{accounts:,} accounts, {posts:,} posts", err=True, nl=False)

    home = home_of(settings)
    with home.lock():
        rebuilt = rebuild(home, dataset, told)
        rebuilt.index.close()
        if shown:
            click.echo("\r\033[K", err=True, nl=False)
        click.echo(f"{rebuilt.posts:,} posts are in {home.present()}")
        if rebuilt.former and delete:
            home.remove(rebuilt.former)
            click.echo(f"the former index, {rebuilt.former}, is deleted")
        elif rebuilt.former:
            click.echo(f"the former index is kept as {rebuilt.former}")


@commands.command("query")
@click.argument("words", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: total, and hits.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0, MAX_HITS), help="How many posts.")
@settings_options(*_WHERE)
def query_command(settings: Settings, words: tuple[str, ...], as_json: bool, limit: int) -> None:
    """Print the posts that have all WORDS, newest first.

    Besides words: "some words" side by side, #tag, @name, lang:it, id:ID, user:ID, from:2012/08/01, to:2012/08/31,
    near:LAT,LON,KM, has:location, sort:oldest.
    """
    search = Search(settings)
    found = search.search(" ".join(_quoted(word) for word in words), limit=limit).answer
    search.close()
    if as_json:
        click.echo(orjson.dumps({"total": found.total, "hits": [post.to_json() for post in found.hits]}))
        return
    for post in found.hits:
        click.echo(_line(post))
    click.echo(f"{found.total:,} posts" if found.total != 1 else "1 post", err=True)


def _quoted(word: str) -> str:
    """An argument whose quotation marks the shell removed is still a phrase."""
    return f'"{word}"' if " " in word and '"' not in word and ":" not in word else word


def _line(post: Document) -> str:
    """One line for people, without terminal control characters."""
    said = post.to_json()
    text = " ".join(f"{said['created_at'] or '-':19} @{post.screen_name or post.user_id} {post.id} {post.text}".split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def main() -> None:
    """The entry point."""
    run(commands, "tmatic-indexer")


if __name__ == "__main__":
    main()
