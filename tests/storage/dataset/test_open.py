"""Which backend `--output` opens, and what is said of a form that nobody knows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import BinaryIO

import pytest

from protocol.errors import UsageError
from protocol.jobs import Operation
from protocol.settings.settings import Settings
from storage.dataset import open
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Dataset, RecordKind
from storage.dataset.open import GROUP, open_dataset, register_dataset, scheme_of, url_of
from tests.checkout import ROOT
from tests.storage.dataset.pages import USER, draft, posts


def settings_for(output: str | Path) -> Settings:
    return replace(Settings(), output_directory=Path(output))


def elsewhere(settings: Settings) -> Dataset:
    """The opener of a test's own backend."""
    return FileDataset(Path("elsewhere") / settings.output_directory.name)


@pytest.mark.parametrize("output", ["data", "/mnt/data", "a:b/c", "hdfs", "/a:/b", "c:/data", "./x"])
def test_a_path_is_a_directory_of_files(output: str) -> None:
    dataset = open_dataset(settings_for(output))
    assert isinstance(dataset, FileDataset)
    assert dataset.where == str(Path(output))


@pytest.mark.parametrize("output", ["hdfs://name:8020/data", "cassandra://host/keyspace", "S3://bucket"])
def test_a_url_of_a_scheme_that_nobody_registered_is_refused(output: str) -> None:
    with pytest.raises(UsageError, match=r"^--output: \w+:// is no form of dataset that is known here"):
        open_dataset(settings_for(output))


def test_a_scheme_is_opened_by_whoever_registered_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open, "_registered", {})
    register_dataset("Tests", elsewhere)
    assert open_dataset(settings_for("tests://host/one")).where == "elsewhere/one"
    assert scheme_of(Path("tests://host/one")) == "tests"
    assert url_of(Path("tests://host/one")) == "tests://host/one"


def test_an_installed_package_brings_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(*, group: str, name: str) -> list[EntryPoint]:
        module = {"tests": __name__, "broken": "no_such_module"}.get(name)
        return [EntryPoint(name, f"{module}:elsewhere", group)] if module and group == GROUP else []

    monkeypatch.setattr("importlib.metadata.entry_points", installed)
    assert open_dataset(settings_for("tests://host/two")).where == "elsewhere/two"
    with pytest.raises(UsageError, match="the backend for broken:// cannot be loaded"):
        open_dataset(settings_for("broken://host"))


@pytest.mark.parametrize(
    "words",
    [
        ["master.commands.master"],
        ["master.commands.master", "status"],
        ["master.commands.master", "audit"],
        ["master.commands.crawl", "targets"],
        ["worker.command", "w"],
        ["services.indexer.command", "rebuild"],
    ],
    ids=" ".join,
)
def test_a_command_says_so_in_one_sentence_and_makes_nothing(tmp_path: Path, words: list[str]) -> None:
    if "targets" in words:
        (tmp_path / "targets").write_text("1\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", *words, "--output", "hdfs://host/data"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, "hdfs:// is no form of dataset" in done.stderr) == (2, True), done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_what_users_ask_of_files_is_asked_of_the_interface(tmp_path: Path) -> None:
    dataset = open_dataset(settings_for(tmp_path))
    assert not dataset.is_there
    assert list(dataset.accounts(RecordKind.TIMELINE)) == []
    for user in (USER, "30", "at://who"):
        dataset.merge(user, Operation.TIMELINE, (), posts([1]), draft("t"))
    dataset.merge("a" * 200, Operation.TIMELINE, (), posts([1]), draft("t"))  # its file's name is cut
    assert sorted(dataset.accounts(RecordKind.TIMELINE)) == sorted([USER, "30", "at://who", "a" * 200])
    assert list(dataset.accounts(RecordKind.FOLLOWERS)) == []
    assert dataset.has(USER, RecordKind.TIMELINE)
    assert not dataset.has(USER, RecordKind.PROFILES)
    assert dataset.where_of("30", RecordKind.TIMELINE) == str(tmp_path / "30" / "30.twt")
    dataset.set_ledger_id("main", "one")
    dataset.set_ledger_id("second", "two")
    assert dataset.crawls() == ["main", "second"]

    def write(file: BinaryIO) -> None:
        file.write(b"x")

    where = dataset.keep("note", write)
    assert (where, Path(where).read_bytes()) == (str(tmp_path / "note"), b"x")


def test_a_file_that_does_not_say_whose_it_is_is_told_of(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.check()
    stray = tmp_path / "22" / "no~name.twt"
    stray.parent.mkdir()
    stray.write_bytes(b"")
    heard: list[str] = []
    assert list(dataset.accounts(RecordKind.TIMELINE, heard.append)) == []
    assert heard == [str(stray)]


def test_a_file_in_another_place_than_its_accounts_is_named_and_left_out(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, Operation.TIMELINE, [], posts([3, 2, 1]), draft("t"))
    (path,) = tmp_path.glob("*/*.twt")
    (tmp_path / "elsewhere").mkdir()
    stray = tmp_path / "elsewhere" / path.name
    stray.write_bytes(path.read_bytes())
    heard: list[str] = []
    assert list(dataset.accounts(RecordKind.TIMELINE, heard.append)) == [USER]
    assert heard == [str(stray)]
