"""The dataset in files: where things are, what is refused, and what others left there."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from protocol.errors import DatasetError
from protocol.jobs import Operation, Outcome, Segment
from storage.dataset.files import naming
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Counts, Dataset, NoListError, Page, Record, RecordKind, SegmentLostError
from storage.dataset.manifest import write_manifest
from storage.dataset.receipts import MAX_CURSORS
from tests.storage.dataset.pages import USER, draft, followers, post, posts, stored_ids, zcat

T, F, A, U = Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE, Operation.UPDATE


def test_files_are_where_the_first_two_digits_say(tmp_path: Path) -> None:
    dataset: Dataset = FileDataset(tmp_path)
    dataset.merge(USER, T, (), posts([2, 1]), draft("t"))
    dataset.merge(USER, F, (), followers([5, 9]), draft("f"))
    dataset.merge(USER, A, (), posts([9, 5]), draft("a"))
    dataset.merge("7", F, (), followers([]), draft("g"))
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("[!.]*/*"))
    assert found == ["22/22013880.fws", "22/22013880.inf", "22/22013880.twt", "7/7.fws"]
    assert zcat(tmp_path / "22/22013880.fws") == [b"5", b"9"]
    assert zcat(tmp_path / "7/7.fws") == []


def test_the_cursors_of_accepted_pages_are_those_of_their_segments(tmp_path: Path) -> None:
    dataset: Dataset = FileDataset(tmp_path)
    one = dataset.append(USER, F, "t1", 0, followers([5], "a"))
    two = dataset.append(USER, F, "t1", one, followers([], "b"))
    dataset.append(USER, F, "t1", two, followers([6], "never accepted"))
    three = dataset.append(USER, F, "t2", 0, followers(range(20_000), "c"))
    assert [*dataset.cursors([Segment("t1", two), Segment("none", 0), Segment("t2", three)])] == ["a", "b", "c"]
    for lost in (Segment("gone", 9), Segment("t2", three + 1), Segment("t1", one + 1)):
        with pytest.raises(SegmentLostError):
            [*dataset.cursors([lost])]


@given(st.text(min_size=1, max_size=300))
def test_any_id_has_a_safe_name_of_its_own(identifier: str) -> None:
    name = naming.escaped(identifier)
    assert set(name) <= set(string.ascii_lowercase + string.digits + "_-%~")
    assert len(name) <= naming.MAX_STEM
    assert not name.startswith("-")
    assert naming.unescaped(name) == (None if "~" in name else identifier)
    folder = naming.directory(identifier)
    assert folder not in ("", ".", "..")
    assert folder.isalnum()


@pytest.mark.parametrize(
    "identifier", ["../../etc/passwd", "Alice", "alice@example.social", "at://did:plc:x/y", "x" * 999]
)
def test_opaque_accounts_are_kept_like_others(tmp_path: Path, identifier: str) -> None:
    dataset = FileDataset(tmp_path / "out")
    dataset.merge(identifier, F, (), followers(["é", "b"]), draft("f"))
    assert list(dataset.followers(identifier)) == ["é", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (receipt,) = dataset.receipts()
    assert receipt.user == identifier


def test_ids_that_differ_in_case_alone_have_different_names() -> None:
    assert naming.escaped("Alice").lower() != naming.escaped("alice").lower()
    assert naming.escaped("A" * 200).lower() != naming.escaped("a" * 200).lower()


def test_a_timeline_and_its_update_share_the_file_and_keep_their_receipts(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    length = dataset.append(USER, T, "t", 0, posts([4, 3], cursor="3"))
    first = dataset.merge(USER, T, [Segment("t", length)], posts([2, 1]), replace(draft("t"), expected=4))
    second = dataset.merge(USER, U, (), posts([9]), draft("u"))
    assert (first.received, first.total, first.pages, first.cursors.first, first.expected) == (4, 4, 2, ("3", ""), 4)
    assert (second.received, second.total, second.generation, second.previous) == (1, 5, 2, first.sha256)
    assert second.sha256 == hashlib.sha256(dataset.path(USER, RecordKind.TIMELINE).read_bytes()).hexdigest()
    assert dataset.receipt(USER, T) == first
    assert dataset.receipt(USER, U) == second
    assert dataset.newest(USER) == "9"
    assert dataset.scan_counts(USER, RecordKind.TIMELINE) == Counts(5, 5)


def test_an_outcome_without_data_leaves_a_receipt_and_the_data_that_were_there(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, F, (), followers([1, 2]), draft("f"))
    tombstone = replace(draft("g"), outcome=Outcome.SUSPENDED, why="the account is suspended")
    receipt = dataset.record_outcome(USER, F, tombstone)
    assert receipt == dataset.record_outcome(USER, F, tombstone) == dataset.receipt(USER, F)
    assert (receipt.outcome, receipt.why, receipt.received, receipt.total) == (
        Outcome.SUSPENDED,
        "the account is suspended",
        0,
        2,
    )
    assert list(dataset.followers(USER)) == ["1", "2"]
    nothing = dataset.record_outcome("1", A, replace(draft("a"), outcome=Outcome.NO_LIST))
    assert (nothing.file, nothing.sha256) == ("", "")


def test_a_list_that_was_never_stored_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoListError, match="no stored follower list for account 5"):
        FileDataset(tmp_path).followers("5")


def test_a_file_that_others_garbled_is_told(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    for kind in (RecordKind.TIMELINE, RecordKind.FOLLOWERS):
        dataset.path(USER, kind).parent.mkdir(exist_ok=True)
        dataset.path(USER, kind).write_bytes(b"\xff\xfe\n")
    with pytest.raises(DatasetError, match="is damaged"):
        dataset.newest(USER)
    with pytest.raises(DatasetError, match="is damaged"):
        list(dataset.followers(USER))
    with pytest.raises(DatasetError, match="cannot be added to"):
        dataset.merge(USER, U, (), posts([1]), draft("u"))


def test_a_fresh_follower_list_comes_first_and_forgets_nobody(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, F, (), followers([3, 1, 2]), draft("f"))
    length = dataset.append(USER, F, "g", 0, followers([9, 2]))
    dataset.merge(USER, F, [Segment("g", length)], followers([2, 8]), draft("g"))
    assert list(dataset.followers(USER)) == ["9", "2", "8", "3", "1"]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("old", ["ours", "plain", "foreign", "foreign behind ours"])
def test_a_file_of_any_origin_is_taken_over(tmp_path: Path, old: str, compress: bool) -> None:
    dataset = FileDataset(tmp_path, compress=compress)
    path = dataset.path(USER, RecordKind.TIMELINE)
    FileDataset(tmp_path).merge(USER, T, (), posts([6, 5]), draft("t"))
    text = b"".join(line + b"\n" for line in dataset.lines(USER, RecordKind.TIMELINE))
    if old == "plain":
        path.write_bytes(text)
    elif old == "foreign":
        path.write_bytes(gzip.compress(text))
    elif old == "foreign behind ours":
        path.write_bytes(path.read_bytes() + gzip.compress(post("4").line + b"\n"))
    before = stored_ids(dataset)
    assert dataset.newest(USER) == "6"
    dataset.merge(USER, U, (), posts([8, 6], "new"), draft("u"))
    assert stored_ids(dataset) == ["8", *before]
    assert dataset.scan_counts(USER, RecordKind.TIMELINE).records == len(before) + 1
    if compress:
        assert len(zcat(path)) == len(before) + 1
    else:
        assert path.read_bytes().count(b"\n") == len(before) + 1


@pytest.mark.parametrize("compress", [True, False])
def test_an_empty_timeline_is_a_file_without_lines(tmp_path: Path, compress: bool) -> None:
    dataset = FileDataset(tmp_path, compress=compress)
    receipt = dataset.merge(USER, T, (), Page(()), draft("t"))
    assert (receipt.total, receipt.pages) == (0, 1)
    assert dataset.newest(USER) is None
    assert stored_ids(dataset) == []
    assert dataset.newest("1") is None
    dataset.merge(USER, U, (), posts([1]), draft("u"))
    assert stored_ids(dataset) == ["1"]


def test_a_damaged_file_is_not_merged_into(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, T, (), posts(range(50, 0, -1)), draft("t"))
    path = dataset.path(USER, RecordKind.TIMELINE)
    data = bytearray(path.read_bytes())
    data[150] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"22013880\.twt is damaged at byte 0"):
        dataset.merge(USER, U, (), posts([60]), draft("u"))
    assert path.read_bytes() == data
    assert dataset.leftovers() == []


def test_a_repeated_merge_brings_a_removed_file_back(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    length = dataset.append(USER, T, "t", 0, posts([2, 1]))
    dataset.merge(USER, T, [Segment("t", length)], None, draft("t"))
    dataset.path(USER, RecordKind.TIMELINE).unlink()
    dataset.merge(USER, T, [Segment("t", length)], None, draft("t"))
    assert stored_ids(dataset) == ["2", "1"]


def test_a_long_cursor_chain_is_kept_by_its_ends(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    length = 0
    for n in range(MAX_CURSORS + 5):
        length = dataset.append(USER, F, "f", length, followers([n], cursor=f"c{n}"))
    chain = dataset.merge(USER, F, [Segment("f", length)], None, draft("f")).cursors
    assert chain.count == MAX_CURSORS + 5
    assert (chain.first[0], chain.last[-1]) == ("c0", f"c{MAX_CURSORS + 4}")
    assert len(chain.first) + len(chain.last) == MAX_CURSORS


def test_epochs_only_rise(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    assert dataset.highest_epoch() == 0
    for epoch, highest in ((3, 3), (2, 3), (3, 3), (12, 12), (9, 12)):
        dataset.witness_epoch(epoch)
        assert FileDataset(tmp_path).highest_epoch() == highest


def test_a_dataset_belongs_to_one_ledger(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    assert dataset.ledger_id("main") is None
    dataset.set_ledger_id("main", "a")
    dataset.set_ledger_id("main", "b")
    assert FileDataset(tmp_path).ledger_id("main") == "b"
    (tmp_path / ".tmatic" / "ledger.main").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match="--adopt"):
        dataset.ledger_id("main")


def test_check_accepts_a_directory_that_does_not_exist_yet_and_leaves_no_trace(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path / "new" / "out", temporary=tmp_path / "segments")
    dataset.check()
    assert dataset.leftovers() == []
    dataset.append(USER, T, "t", 0, posts([1]))
    assert (tmp_path / "segments" / "segments" / "t.seg").exists()


def test_check_refuses_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DatasetError, match="a file stands where a directory should be"):
        FileDataset(tmp_path / "out").check()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second volume")
def test_check_refuses_segments_on_another_volume(tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"tmatic-test-{os.getpid()}"
    other.mkdir()
    try:
        with pytest.raises(DatasetError, match="must be on the same volume"):
            FileDataset(tmp_path, temporary=other).check()
        assert list(other.iterdir()) == []
    finally:
        other.rmdir()


def test_check_refuses_segments_on_a_remote_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.dataset.files.volume.file_system", lambda device: "nfs4")
    with pytest.raises(DatasetError, match="must be on a local disk, and is on nfs4"):
        FileDataset(tmp_path, temporary=tmp_path / "t").check()
    FileDataset(tmp_path).check()


def test_check_refuses_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(DatasetError, match="hard links"):
        FileDataset(tmp_path).check()


def test_the_manifest_names_every_file(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    receipts = [dataset.merge(str(n), F, (), followers([n]), draft(f"f{n}")) for n in range(10, 20)]
    path = write_manifest(dataset, settings={"depth": 2}, seeds=["10"], versions={"twittomatic": "0"}, counts={"F": 10})
    manifest = json.loads(Path(path).read_bytes())
    assert (manifest["seeds"], manifest["settings"], manifest["counts"]) == (["10"], {"depth": 2}, {"F": 10})
    assert manifest["files"] == {
        receipt.file: {"bytes": receipt.bytes, "records": 1, "sha256": receipt.sha256} for receipt in receipts
    }
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"manifest.json"}


def test_an_id_that_json_says_as_a_number_is_the_same_id(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, T, (), Page((Record("5", b'{"id":5,"text":"old"}'),)), draft("t"))
    dataset.merge(USER, U, (), posts([5], "new"), draft("u"))
    assert list(dataset.lines(USER, RecordKind.TIMELINE)) == [post("5", "new").line]


def test_a_dataset_that_goes_away_in_the_middle_is_not_begun_anew(tmp_path: Path) -> None:
    """Its volume is gone: a new one in its place would take the rest of the crawl for the whole."""
    here, away = tmp_path / "out", tmp_path / "away"
    dataset = FileDataset(here)
    dataset.check()
    length = dataset.append(USER, T, "one", 0, posts([1]))
    here.rename(away)
    for write in (
        lambda: dataset.append(USER, T, "two", 0, posts([2])),
        lambda: dataset.merge("7", F, (), followers([5]), draft("f")),
        lambda: dataset.witness_epoch(3),
        lambda: dataset.set_ledger_id("main", "a"),
        lambda: write_manifest(dataset, settings={}, seeds=[], versions={}, counts={}),
    ):
        with pytest.raises(DatasetError, match="is its volume mounted"):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["away"]
    away.rename(here)
    dataset.append(USER, T, "two", 0, posts([2]))
    dataset.merge(USER, T, [Segment("one", length)], posts([]), draft("one"))
    assert stored_ids(dataset) == ["1"]


def test_a_directory_in_the_place_of_a_receipt_is_named(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, T, (), posts([1]), draft("t"))
    (receipt,) = (tmp_path / ".tmatic" / "receipts").glob("*/*.json")
    receipt.unlink()
    receipt.mkdir()
    with pytest.raises(DatasetError, match="is a directory where a receipt should be"):
        dataset.receipt(USER, T)
