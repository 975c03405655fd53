"""Where the commands of these tests are called, and what they find there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments.running import run_in
from tests.environments.table import LOCALES, NO_LOCALES, SMALL, TARGETS, Row

POST = {
    "created_at": "Sun Aug 22 14:35:20 +0000 2021",
    "id": 1429452131773110852,
    "id_str": "1429452131773110852",
    "text": "caffè 電車 ☃ \N{PILE OF POO} قطار",
    "lang": "it",
    "user": {"id": 12, "id_str": "12", "screen_name": "jack"},
}
STRANGERS = ("redis", "click", "zmq", "requests", "json", "logging", "worker", "storage", "services", "protocol")


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the locales that a system does not have as a rule."""
    folder = tmp_path_factory.mktemp("locales")
    for name, charmap in LOCALES.items() if not NO_LOCALES else ():
        words = ["localedef", "--no-archive", "-c", "-i", name.partition(".")[0], "-f", charmap, str(folder / name)]
        subprocess.run(words, check=False, capture_output=True, timeout=60)  # 1 is a warning of the sources
        assert (folder / name / "LC_CTYPE").exists(), words
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
    opened(folder, tmp_path_factory.getbasetemp())
    return folder


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a command is called: a folder that everybody may write to, with strangers' modules in one below."""
    (tmp_path / TARGETS).write_text("12\n", encoding="ascii")
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for name in STRANGERS:
        (strangers / f"{name}.py").write_text("raise SystemExit('a stranger was run')\n", encoding="ascii")
    (strangers / "master").mkdir()
    opened(tmp_path, tmp_path_factory.getbasetemp())
    tmp_path.chmod(0o777)
    yield tmp_path
    shutil.rmtree(tmp_path)


def opened(folder: Path, base: Path) -> None:
    """Let a user without a name come there from elsewhere below the tests' own `base`, above which nothing changes."""
    for place in (folder, *folder.parents):
        if place.is_relative_to(base):
            place.chmod(place.stat().st_mode | 0o055)
