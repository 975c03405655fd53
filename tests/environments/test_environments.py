"""Every command, and a whole crawl, in every environment that people were seen to run such tools in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.docs import reference_page
from tests.environments.running import Ended, run_in
from tests.environments.table import ROWS, SMALL, TARGETS, Row, cases

CRAWL = ("-T", "-F", "-A", *SMALL, "--users 20 --seed 7")
TALKS = {
    "tmatic-data": ("stats", "{world}/data"),
    "tmatic-indexer": ("query", "--output", "{world}/data", "--index-directory", "{world}/index", "lang:it"),
    "tmatic-lookup": ("--version",),
    "tmatic-emulator": ("--version",),
}
"""A real piece of work, of the commands that have a cheap one that prints; the others teach by --help."""
WORKING = ("tmatic-data", "tmatic-indexer")


def work(name: str, world: str) -> list[str]:
    """The command line of a command's own piece of work."""
    return [name, *(word.format(world=world) for word in TALKS.get(name, ("--help",)))]


def worked(row: Row, names: Iterable[str], world: Path, folder: Path, locales: Path) -> None:
    """Run these commands in a row, and judge what came of each."""
    wrong = []
    # Whether it may read what it is told to, a user without a name is answered by each folder on the way.
    where = os.path.relpath(world, folder) if row.before == "nobody" else str(world)
    for name in names:
        ended = run_in(row, work(name, where), folder, locales, world)
        if ended.code != row.printed:
            wrong.append(f"{ended} (expected: {row.printed})")
        elif row.printed == 1 and row.telling:
            assert ended.err.endswith(f"{name}: standard output: No space left on device\n"), ended
        elif not row.streams:
            assert len(ended.out.splitlines()) >= 1, ended
    assert not wrong, "\n".join(wrong)


def few(row: Row) -> list[str]:
    """The commands that do real work, and one of the others in turn: all together cost six seconds a row."""
    others = [name for name in reference_page.MODULES if name not in WORKING]
    return [*WORKING, others[ROWS.index(row) % len(others)]]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", cases(ROWS))
def test_commands_work_in_every_environment(row: Row, world: Path, folder: Path, locales: Path) -> None:
    worked(row, few(row), world, folder, locales)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", cases(ROWS))
def test_every_command_works_in_every_environment(row: Row, world: Path, folder: Path, locales: Path) -> None:
    worked(row, reference_page.MODULES, world, folder, locales)


def crawled(row: Row, folder: Path, locales: Path) -> None:
    """Crawl in a row, and judge what came of it."""
    # With relative names, as most people say them; but only where there is a folder to be relative to.
    targets = TARGETS if not row.before.startswith(("cd", "mkdir")) else str(folder / TARGETS)
    output = "data" if row.refused or targets == TARGETS else str(folder / "data")
    ended = run_in(row, ["tmatic-crawl", targets, "--output", output, *CRAWL], folder, locales)
    if row.refused:
        refused(ended, row)
        ended = run_in(row, ["tmatic-crawl", targets, "--output", str(folder / "data"), *CRAWL], folder, locales)
    assert ended.code == 0, ended
    assert json.loads((folder / "data/manifest.json").read_bytes())["seeds"], ended
    assert (folder / "data/12/12.twt").exists(), ended


def refused(ended: Ended, row: Row) -> None:
    """It ended with one sentence that says why."""
    last = ended.err.splitlines()[-1]
    assert ended.code in (1, 2) and last.startswith("tmatic-crawl: ") and row.refused in last, ended


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", cases(tuple(row for row in ROWS if row.crawls)))
def test_a_crawl_goes_well_in_the_most_telling_environments(row: Row, folder: Path, locales: Path) -> None:
    crawled(row, folder, locales)


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", cases(tuple(row for row in ROWS if row.crawlable)))
def test_a_crawl_goes_well_in_every_environment(row: Row, folder: Path, locales: Path) -> None:
    crawled(row, folder, locales)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_dataset_in_a_folder_whose_name_is_no_text_is_crawled_and_audited(folder: Path, locales: Path) -> None:
    output = "daten-\udce9/o"
    row = Row("as it is")
    ended = run_in(row, ["tmatic-crawl", TARGETS, "--output", output, *CRAWL], folder, locales)
    assert ended.code == 0, ended
    # Another master adopts what is there.
    ended = run_in(row, ["tmatic-master", "audit", "--output", output], folder, locales)
    assert ended.code == 0, ended
    settings = json.loads((folder / output / "manifest.json").read_bytes())["settings"]
    assert settings["output_directory"] == r"daten-\xe9/o"
