"""`tmatic-master dead`, `requeue`, `drop`: jobs that were given up, and the actions on them."""

from __future__ import annotations

import json

import click

from master.admin.dead_letters import is_name, settle_at_rest
from master.admin.locate_masters import Masters, leader_of
from master.admin.reading import reading
from protocol.errors import LedgerError, UsageError
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings

SETTINGS = ("crawl", "output_directory", "redis", "durability", "host", "port", "keys_directory", "insecure")


def letters_commands() -> list[click.Command]:
    """The commands, for `tmatic-master`."""

    @click.command()
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object a letter, for machines.")
    @settings_options(*SETTINGS)
    def dead(as_json: bool, settings: Settings) -> None:
        """List the jobs that were given up: operation and account, tries, records so far, the last error's words."""
        with reading(settings) as opened:
            for job, words in opened.ledger.dead():
                name, done = f"{job.operation.value}:{job.user}", job.progress
                if as_json:
                    row = {"letter": name, "tries": done.tries, "lapses": done.lapses, "records": done.count}
                    click.echo(json.dumps({**row, "cursor": done.cursor, "words": words}))
                else:
                    said = words if words.isprintable() else words.encode("unicode_escape").decode()
                    click.echo(f"{name}  {done.tries} tries, {done.count} records: {said}")

    @click.command()
    @click.argument("letters", nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="All that there are.")
    @settings_options(*SETTINGS)
    def requeue(letters: tuple[str, ...], everything: bool, settings: Settings) -> None:
        """Try LETTERS again, each as OPERATION:ACCOUNT, from where they stood."""
        count = _settle(letters, everything, settings, "requeue")
        click.echo(f"{count} jobs wait again")

    @click.command()
    @click.argument("letters", nargs=-1, required=True)
    @settings_options(*SETTINGS)
    def drop(letters: tuple[str, ...], settings: Settings) -> None:
        """Put LETTERS away for good, each as OPERATION:ACCOUNT: they are not tried again, and count as dealt with."""
        count = _settle(letters, False, settings, "drop")
        click.echo(f"{count} letters are put away")

    return [dead, requeue, drop]


def _settle(letters: tuple[str, ...], everything: bool, settings: Settings, word: str) -> int:
    if everything == bool(letters):
        raise UsageError(f"say which letters to {word}, as T:22013880, or --all; `tmatic-master dead` lists them")
    for name in letters:
        if not is_name(name) or not name.isprintable():  # bytes that are not text are no account
            raise UsageError(f"a letter is OPERATION:ACCOUNT, as T:22013880, not {name[:80]!r}")
    masters = Masters(settings)
    with reading(settings) as opened:
        if everything:
            letters = tuple(f"{job.operation.value}:{job.user}" for job, _ in opened.ledger.dead())
        states = masters.found(opened.ledger)
        leader = leader_of(states)
        if leader is None and masters.unreached is not None:
            raise LedgerError(masters.unreached_words)
        if leader is None or states[leader].get("role") != "leading":
            return settle_at_rest(opened, letters, drop=word == "drop")
    for name in letters:
        # The lead may change between two letters.
        if name != letters[0]:
            leader = leader_of(masters.answering())
        if leader is None or leader not in masters.ask([leader], f"{word} {name}"):
            raise LedgerError("the master that led this crawl does not answer any more: ask again")
    return len(letters)
