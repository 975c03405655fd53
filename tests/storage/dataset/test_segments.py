"""What the ledger accepted of a segment stays; what it did not accept is cut; what is gone is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import DatasetError
from protocol.jobs import Operation, Segment
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind, SegmentLostError
from tests.storage.dataset.pages import USER, draft, posts, stored_ids

T = Operation.TIMELINE


def segment_file(dataset: FileDataset) -> Path:
    (path,) = (dataset.output / ".tmatic" / "segments").iterdir()
    return path


@pytest.mark.parametrize("reopened", [False, True])
def test_a_torn_tail_is_cut_at_every_byte_offset(tmp_path: Path, reopened: bool) -> None:
    dataset = FileDataset(tmp_path)
    accepted = dataset.append(USER, T, "lease", 0, posts([9, 8]))
    whole = dataset.append(USER, T, "lease", accepted, posts([7, 6]))
    path = segment_file(dataset)
    good = path.read_bytes()
    for length in range(accepted, whole + 1):
        path.write_bytes(good[:length])
        if reopened:
            dataset.close("lease")
        assert dataset.append(USER, T, "lease", accepted, posts([7, 6])) == whole
        assert path.read_bytes() == good
    assert list(dataset.segments()) == [Segment("lease", whole)]


def test_a_torn_tail_that_is_longer_than_the_next_page_is_cut(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    accepted = dataset.append(USER, T, "lease", 0, posts([9, 8]))
    dataset.append(USER, T, "lease", accepted, posts(range(7, 0, -1)))
    length = dataset.append(USER, T, "lease", accepted, posts([7]))
    assert segment_file(dataset).stat().st_size == length
    length = dataset.append(USER, T, "lease", 0, posts([9]))
    assert segment_file(dataset).stat().st_size == length


def test_a_merge_takes_what_was_accepted_and_no_more(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    accepted = dataset.append(USER, T, "lease", 0, posts([9, 8]))
    dataset.append(USER, T, "lease", accepted, posts([7, 6]))
    receipt = dataset.merge(USER, T, [Segment("lease", accepted)], posts([5]), draft("lease"))
    assert stored_ids(dataset) == ["9", "8", "5"]
    assert (receipt.received, receipt.total, receipt.pages) == (3, 3, 2)


@pytest.mark.parametrize("damage", ["missing", "shorter", "flipped", "misaligned", "foreign"])
def test_an_accepted_segment_that_is_not_there_in_full_is_told(tmp_path: Path, damage: str) -> None:
    dataset = FileDataset(tmp_path)
    length = dataset.append(USER, T, "lease", 0, posts(range(50, 0, -1)))
    dataset.close("lease")
    path = segment_file(dataset)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "shorter":
        path.write_bytes(data[:-1])
    elif damage == "flipped":
        path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    elif damage == "misaligned":
        path.write_bytes(data + data)
        length += 10
    else:
        path.write_bytes(bytes(length))
    with pytest.raises(SegmentLostError):
        dataset.merge(USER, T, [Segment("lease", length)], posts([999]), draft("lease"))
    assert stored_ids(dataset) == []
    assert dataset.leftovers() == []
    if damage in ("missing", "shorter"):
        with pytest.raises(SegmentLostError):
            dataset.append(USER, T, "lease", length, posts([1]))


def test_segments_are_discarded_and_missing_ones_are_fine(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    length = dataset.append(USER, T, "lease", 0, posts([1]))
    dataset.discard([Segment("lease", length), Segment("never", 0)])
    dataset.discard([Segment("lease", length)])
    assert list(dataset.segments()) == []


def test_more_leases_than_open_files_are_no_matter(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    dataset = FileDataset(tmp_path)
    ends = {f"lease-{n}": dataset.append(USER, T, f"lease-{n}", 0, posts([n])) for n in range(200)}
    for token, end in ends.items():
        dataset.append(USER, T, token, end, posts([1_000]))
    assert len(os.listdir("/proc/self/fd")) - before < 150
    assert len(list(dataset.segments())) == 200


FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from protocol.errors import DatasetError
from protocol.jobs import Operation, Segment
from storage.dataset.files.dataset import FileDataset
from tests.storage.dataset.pages import USER, draft, posts
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
dataset = FileDataset(Path(sys.argv[1]))
T = Operation.TIMELINE
length = dataset.append(USER, T, "lease", 0, posts([9, 8]))
resource.setrlimit(resource.RLIMIT_FSIZE, (length + 50, length + 50))
words = []
try:
    dataset.append(USER, T, "lease", length, posts(range(7, 0, -1)))
except DatasetError as error:
    words.append(str(error))
try:
    dataset.merge(USER, T, [Segment("lease", length)], posts(range(7, 0, -1)), draft("lease"))
except DatasetError as error:
    words.append(str(error))
print(json.dumps([length, words]))
"""


def test_a_disk_that_takes_no_more_loses_nothing(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, T, (), posts([10]), draft("before"))
    before = dataset.path(USER, RecordKind.TIMELINE).read_bytes()
    answer = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], check=True, capture_output=True, timeout=30
    ).stdout
    length, words = json.loads(answer)
    assert len(words) == 2
    assert all("limit" in sentence for sentence in words)
    assert dataset.path(USER, RecordKind.TIMELINE).read_bytes() == before
    assert dataset.leftovers() == []
    dataset.merge(USER, T, [Segment("lease", length)], posts(range(7, 0, -1)), draft("lease"))
    assert stored_ids(dataset) == [str(n) for n in range(10, 0, -1)]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount")
    try:
        dataset = FileDataset(tmp_path)
        accepted = dataset.append(USER, T, "lease", 0, posts([9, 8]))
        with pytest.raises(DatasetError, match="the disk is full"):
            for n in range(1_000):
                dataset.append("1", T, f"other-{n}", 0, posts(range(200), words=40))
        with pytest.raises(DatasetError, match="the disk is full"):
            dataset.merge(USER, T, [Segment("lease", accepted)], posts(range(7), words=3_000), draft("lease"))
        assert dataset.leftovers() == []
        dataset.discard([segment for segment in dataset.segments() if segment.token != "lease"])
        dataset.merge(USER, T, [Segment("lease", accepted)], posts([7]), draft("lease"))
        assert stored_ids(dataset) == ["9", "8", "7"]
        dataset.close("lease")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
