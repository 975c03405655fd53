"""`tmatic-data` prints what is there, and finds whatever is wrong with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.jobs import Operation, Outcome
from storage.dataset.files.dataset import FileDataset
from storage.dataset.files.gzip_members import encode
from storage.dataset.interface import RecordKind
from tests.checkout import ROOT
from tests.storage.dataset.pages import USER, draft, followers, post, posts

pytestmark = pytest.mark.slow


def tmatic_data(*words: str | Path, check: int = 0) -> str:
    """What the command prints on both streams, after the exit code that was expected."""
    command = [sys.executable, "-m", "storage.data_command", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == check, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def dataset(tmp_path: Path) -> FileDataset:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, Operation.TIMELINE, (), posts([3, 2, 1]), draft("t"))
    dataset.merge(USER, Operation.FOLLOWER, (), followers([8, 9]), draft("f"))
    dataset.merge("7", Operation.FOLLOWER, (), followers([4]), draft("g"))
    dataset.record_outcome("8", Operation.TIMELINE, replace(draft("p"), outcome=Outcome.PROTECTED))
    return dataset


def test_cat_prints_lines(dataset: FileDataset) -> None:
    assert tmatic_data("cat", dataset.output, USER, "--followers") == "8\n9\n"
    assert tmatic_data("cat", dataset.output, "7") == "4\n"
    assert tmatic_data("cat", dataset.path(USER, RecordKind.TIMELINE)).count("\n") == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["cat", "OUT"], 2, "name the account"),
        (["cat", "OUT", USER], 2, "--timeline, --followers"),
        (["cat", "OUT", "55"], 1, "nothing on file for account 55"),
        (["cat", "OUT", USER, "--profiles"], 1, "there is no"),
        (["cat", "/nowhere"], 2, "does not exist"),
        (["verify", "/nowhere"], 2, "does not exist"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_a_wrong_call_gets_one_sentence(dataset: FileDataset, words: list[str], code: int, said: str) -> None:
    answer = tmatic_data(*(str(dataset.output) if word == "OUT" else word for word in words), check=code)
    assert said in answer
    assert answer.startswith("tmatic-data: ")
    assert answer.count("\n") == 1


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_failure_to_talk_about(dataset: FileDataset) -> None:
    dataset.merge("9", Operation.FOLLOWER, (), followers(range(200_000)), draft("many"))
    command = f"{sys.executable} -m storage.data_command cat {dataset.output} 9 | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_verify_is_content_with_a_whole_dataset(dataset: FileDataset) -> None:
    assert tmatic_data("verify", dataset.output).endswith("bytes: all is well\n")
    report = json.loads(tmatic_data("verify", dataset.output, "--json"))
    assert (report["files"], report["records"], report["problems"], report["leftovers"]) == (3, 6, [], [])


def damage(dataset: FileDataset, how: str) -> None:
    path = dataset.path(USER, RecordKind.TIMELINE)
    data = path.read_bytes()
    three = [post("3").line, post("1").line, post("2").line]
    match how:
        case "gone":
            path.unlink()
        case "flipped":
            path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
        case "cut":
            path.write_bytes(data[:-3])
        case "doubled":
            path.write_bytes(data + data)
        case "disordered":
            path.write_bytes(encode(["3", "1", "2"], three))
        case "garbled":
            path.write_bytes(encode(["3", "2", "1"], [b"{", b"x", b"1"]))
        case "fewer":
            path.write_bytes(encode(["3"], three[:1]))
        case "stranger":
            path.with_name("2299.fws").write_bytes(encode(["1"], [b"1"]))
        case "receipt":
            for receipt in (dataset.output / ".tmatic" / "receipts").glob("*/22013880.twt.*"):
                receipt.write_text("{}")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("gone", "22/22013880.twt: there is a receipt for it, and no file"),
        ("flipped", "22/22013880.twt: its"),
        ("cut", "damaged"),
        ("doubled", "line 4 is one of 3 whose id stands in the file already"),
        ("disordered", "line 3 is one of 1 that is newer than the one above it"),
        ("garbled", "line 1 is one of 3 that cannot be read as a record"),
        ("fewer", "it has 1 records, and its receipt says 3"),
        ("stranger", "22/2299.fws: there is no receipt for it"),
        ("receipt", "the record cannot be read"),
    ],
)
def test_verify_names_what_is_wrong(dataset: FileDataset, how: str, said: str) -> None:
    damage(dataset, how)
    assert said in tmatic_data("verify", dataset.output, check=1)
    assert json.loads(tmatic_data("verify", dataset.output, "--json", check=1))["problems"]


def test_verify_tells_what_an_unfinished_crawl_left(dataset: FileDataset) -> None:
    dataset.append("5", Operation.TIMELINE, "lease-5", 0, posts([1]))
    steps = dataset.merging(USER, Operation.UPDATE, (), posts([9]), draft("u"))
    while next(steps) != "place":
        pass
    steps.close()
    answer = tmatic_data("verify", dataset.output)
    assert "segment of lease lease-5" in answer
    assert "unfinished merge: 22013880.twt" in answer
    dataset.recover()
    assert "unfinished merge" not in tmatic_data("verify", dataset.output)
    assert dataset.newest(USER) == "9"


@pytest.mark.parametrize("word", ["verify", "stats"])
def test_what_is_no_dataset_is_not_found_to_be_well(dataset: FileDataset, tmp_path: Path, word: str) -> None:
    empty = tmp_path / "not mounted"
    empty.mkdir()
    assert "there is no dataset in" in tmatic_data(word, empty, check=1)
    assert "there is no dataset in" in tmatic_data(word, empty, "--json", check=1)
    shutil.rmtree(dataset.output / ".tmatic")
    assert "was handed on without its receipts" in tmatic_data(word, dataset.output, check=1)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "manifest.json").write_text("{}")
    assert "was handed on without its receipts" in tmatic_data(word, bare, check=1)


@pytest.mark.parametrize("word", ["verify", "stats"])
def test_a_directory_in_the_place_of_a_receipt_is_named(dataset: FileDataset, word: str) -> None:
    [receipt] = (dataset.output / ".tmatic" / "receipts").glob("*/22013880.twt.*")
    receipt.unlink()
    receipt.mkdir()
    answer = tmatic_data(word, dataset.output, check=1)
    assert "Is a directory" in answer or "is a directory" in answer
    assert receipt.name in answer


def test_stats_counts_by_kind_and_outcome(dataset: FileDataset) -> None:
    counted = json.loads(tmatic_data("stats", dataset.output, "--json"))
    assert counted["kinds"]["fws"]["records"] == 3
    assert counted["kinds"]["twt"]["bytes"] == os.path.getsize(dataset.path(USER, RecordKind.TIMELINE))
    assert counted["outcomes"] == {"F": {"complete": 2}, "T": {"complete": 1, "protected": 1}}
    assert "T: 1 complete, 1 protected" in tmatic_data("stats", dataset.output)
