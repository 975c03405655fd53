"""`tmatic-data`: look at a dataset, and prove that it is whole."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson

from protocol.cli import run
from protocol.errors import DatasetError, TmaticError, UsageError
from protocol.streams import is_screen
from storage.dataset.files.dataset import FileDataset
from storage.dataset.files.text import lines_of_file
from storage.dataset.interface import RecordKind
from storage.dataset.manifest import NAME as MANIFEST
from storage.dataset.verify import Verification, kinds_of, stats, verify

_OUTPUT = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(help="Look at a dataset, and prove that it is whole.")
def commands() -> None:
    """The group that the commands below hang on."""


@contextlib.contextmanager
def _receipted(output: Path) -> Iterator[FileDataset]:
    """A dataset with its receipts. Raises DatasetError where there is none, and for what cannot be read in it: a check
    that counted nothing and found no fault would pass a volume that is not mounted."""
    dataset = FileDataset(output)
    if not dataset.is_there and (next(dataset.files(), None) or (output / MANIFEST).exists()):
        raise DatasetError(
            f"{output} was handed on without its receipts, which are in .tmatic and tell what must be there; "
            f"{MANIFEST}, if it came with the files, has the sha256 of each"
        )
    dataset.require_there()
    try:
        yield dataset
    except OSError as error:
        raise DatasetError(f"{error.filename or output} cannot be read: {error.strerror}") from error


@commands.command("cat")
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="OUTPUT|FILE")
@click.argument("user", required=False)
@click.option("--timeline", "kind", flag_value=RecordKind.TIMELINE.value, help="The account's posts, newest first.")
@click.option("--followers", "kind", flag_value=RecordKind.FOLLOWERS.value, help="The ids of its followers.")
@click.option("--profiles", "kind", flag_value=RecordKind.PROFILES.value, help="The profiles of its followers.")
def cat_command(path: Path, user: str | None, kind: str | None) -> None:
    """Print the lines of one data FILE, or of account USER below the directory OUTPUT.

    Without an option, the one kind that is on file for the account is printed.
    """
    if path.is_file():
        if user is not None or kind is not None:
            raise UsageError(f"{path} is a file: it is printed as it is, without an account or a kind")
        chosen = path
    else:
        if user is None:
            raise UsageError(f"{path} is a directory: name the account to print")
        chosen = _chosen(FileDataset(path), user, kind)
    out = sys.stdout.buffer
    for line in lines_of_file(chosen):
        out.write(line + b"\n")


def _chosen(dataset: FileDataset, user: str, kind: str | None) -> Path:
    there = list(kinds_of(dataset, user))
    if kind is not None:
        path = dataset.path(user, RecordKind(kind))
        if RecordKind(kind) not in there:
            raise TmaticError(f"there is no {path} for account {user}")
        return path
    if not there:
        raise TmaticError(f"there is nothing on file for account {user} below {dataset.output}")
    if len(there) > 1:
        options = ", ".join(f"--{one.name.lower()}" for one in there)
        raise UsageError(f"there are several kinds on file for account {user}: say which of {options}")
    return dataset.path(user, there[0])


@commands.command("verify")
@click.argument("output", type=_OUTPUT)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def verify_command(output: Path, as_json: bool) -> None:
    """Read every file below OUTPUT again and compare it with its receipt; exit 1 when something is wrong."""
    shown = is_screen(sys.stderr) and not as_json

    def progress(report: Verification) -> None:
        if shown and report.files % 16 == 0:
            click.echo(f"\r{report.files:,} files, {report.records:,} records", err=True, nl=False)

    with _receipted(output) as dataset:
        report = verify(dataset, progress)
    if shown:
        click.echo("\r\033[K", err=True, nl=False)
    if as_json:
        click.echo(orjson.dumps(report.to_json()))
    else:
        for problem in report.problems:
            click.echo(f"{problem.file}: {problem.what}")
        if report.leftovers:
            click.echo("left over, as an unfinished crawl may:")
            for leftover in report.leftovers:
                click.echo(f"  {leftover}")
        wrong = f"{len(report.problems):,} problems" if report.problems else "all is well"
        click.echo(f"{report.files:,} files, {report.records:,} records, {report.bytes:,} bytes: {wrong}")
    if report.problems:
        sys.exit(1)


@commands.command("stats")
@click.argument("output", type=_OUTPUT)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def stats_command(output: Path, as_json: bool) -> None:
    """Count what is below OUTPUT, from its receipts: by kind, and by how the jobs ended."""
    with _receipted(output) as dataset:
        counted = stats(dataset)
    if as_json:
        click.echo(orjson.dumps(counted))
        return
    click.echo(f"{'kind':<12}{'files':>12}{'records':>16}{'bytes':>18}")
    for kind, totals in counted["kinds"].items():
        click.echo(f"{'.' + kind:<12}{totals['files']:>12,}{totals['records']:>16,}{totals['bytes']:>18,}")
    for operation, outcomes in counted["outcomes"].items():
        ended = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
        click.echo(f"{operation}: {ended}")


def main() -> None:
    """The entry point."""
    run(commands, "tmatic-data")


if __name__ == "__main__":
    main()
