"""Every command, and a whole crawl, in every environment that people were seen to run such tools in."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.docs import reference_page
from tests.environments.running import Ended, run_in
from tests.environments.table import LOCALES, NO_LOCALES, ROWS, Row, cases

SMALL = ("--port", "0", "--workers", "1", "--emulator", "--emulator-options")
CRAWL = ("-T", "-F", "-A", *SMALL, "--users 20 --seed 7")
POST = {
    "created_at": "Sun Aug 22 14:35:20 +0000 2021",
    "id": 1429452131773110852,
    "id_str": "1429452131773110852",
    "text": "caffè 電車 ☃ \N{PILE OF POO} قطار",
    "lang": "it",
    "user": {"id": 12, "id_str": "12", "screen_name": "jack"},
}
TARGETS = "ziele-\udce9.txt"
"""A name that is no UTF-8, as one of Latin-1 is."""
STRANGERS = ("redis", "click", "zmq", "requests", "json", "logging", "worker", "storage", "services", "protocol")
TALKS = {
    "tmatic-data": ("stats", "{world}/data"),
    "tmatic-indexer": ("query", "--output", "{world}/data", "--index-directory", "{world}/index", "lang:it"),
    "tmatic-lookup": ("--version",),
    "tmatic-emulator": ("--version",),
}
"""A real piece of work, of the commands that have a cheap one that prints; the others teach by --help."""
WORKING = ("tmatic-data", "tmatic-indexer")


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the locales that a system does not have as a rule."""
    folder = tmp_path_factory.mktemp("locales")
    for name, charmap in LOCALES.items() if not NO_LOCALES else ():
        words = ["localedef", "--no-archive", "-c", "-i", name.partition(".")[0], "-f", charmap, str(folder / name)]
        subprocess.run(words, check=False, capture_output=True, timeout=60)  # 1 is a warning of the sources
        assert (folder / name / "LC_CTYPE").exists(), words
    opened(folder)
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, locales: Path) -> Path:
    """A folder with a dataset and its index: one post, of letters that no small encoding has all of."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "targets.txt").write_text("12\n", encoding="ascii")
    (folder / "served/12").mkdir(parents=True)
    (folder / "served/12/12.twt").write_text(json.dumps(POST) + "\n", encoding="utf-8")
    words = ["tmatic-crawl", "targets.txt", "--output", "data", "-T", *SMALL, "--dataset served"]
    done = run_in(Row("a world"), words, folder, locales)
    assert done.code == 0, done
    where = ("--output", "data", "--index-directory", "index", "--index-engine", "whoosh")
    indexed = run_in(Row("an index"), ["tmatic-indexer", "rebuild", *where], folder, locales)
    assert indexed.code == 0, indexed
    opened(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a command is called: a folder that everybody may write to, with strangers' modules in one below."""
    (tmp_path / TARGETS).write_text("12\n", encoding="ascii")
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for name in STRANGERS:
        (strangers / f"{name}.py").write_text("raise SystemExit('a stranger was run')\n", encoding="ascii")
    (strangers / "master").mkdir()
    tmp_path.chmod(0o777)
    opened(tmp_path)
    yield tmp_path
    shutil.rmtree(tmp_path)


def opened(folder: Path) -> None:
    """Let a user without a name come there."""
    for parent in (folder, *folder.parents):
        if parent.owner() == folder.owner() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o055)


def work(name: str, world: Path) -> list[str]:
    """The command line of a command's own piece of work."""
    return [name, *(word.format(world=world) for word in TALKS.get(name, ("--help",)))]


def worked(row: Row, names: Iterable[str], world: Path, folder: Path, locales: Path) -> None:
    """Run these commands in a row, and judge what came of each."""
    wrong = []
    for name in names:
        ended = run_in(row, work(name, world), folder, locales)
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
