"""A recording is whole whatever happens: lines, position and counts stand and fall together."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DatasetError, UsageError
from protocol.jobs import Operation
from services.stats.counts import CountedJobs, EventCounts, mark
from services.stats.recording.gzip_members import parse
from services.stats.recording.points import Oddities, Point, point, points_of
from services.stats.recording.recording import SYNC_S, TAIL, Recording
from services.subscriber.consumer import Position
from tests.waiting import until

START = 1_790_000_000


def place(sequence: int) -> Position:
    return Position("c0ffee", "beef", sequence)


def counted(results: int) -> EventCounts:
    counts = EventCounts()
    counts.results[Operation.TIMELINE] = results
    return counts


def filled(path: Path, commits: list[int]) -> list[int]:
    """A recording with so many lines in each commit, of which every one has a sequence and a count of its own; where
    each ends."""
    ends = []
    recording = Recording(path)
    for number, lines in enumerate(commits, 1):
        points = [Point(f"stats.ops.timeline.w{n}", str(number), START + number) for n in range(lines)]
        recording.append(points, place(number), counted(number), durable=False)
        ends.append(recording.end)
    recording.close()
    return ends


def opened(path: Path) -> Recording:
    """A recording that was opened, which cuts it, and closed again."""
    with Recording(path) as recording:
        return recording


def opened_bytes(folder: Path, content: bytes) -> bytes:
    """What is left of a recording with this content when it was opened."""
    (folder / "opened.gz").write_bytes(content)
    opened(folder / "opened.gz")
    return (folder / "opened.gz").read_bytes()


def read(path: Path) -> list[Point]:
    return list(points_of(path, Oddities()))


def test_zcat_and_python_read_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "crawl.gz"
    filled(path, [3, 0, 2])
    lines = subprocess.run(["zcat", path], capture_output=True, check=True).stdout
    assert lines == gzip.decompress(path.read_bytes())
    assert lines.splitlines()[0] == b"stats.ops.timeline.w0 1 1790000001"
    assert [p.line() for p in read(path)] == lines.splitlines(keepends=True)


def test_position_and_counts_are_those_of_the_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "crawl.gz"
    filled(path, [1, 0])
    recording = Recording(path)
    assert (recording.position, recording.counts, recording.cut) == (place(2), counted(2), 0)
    recording.append([], place(3), counted(2), durable=True)
    recording.close()
    assert opened(path).position == place(3)


def cut_and_gone_on_with(folder: Path, content: bytes, ends: list[int], commits: list[int]) -> None:
    """What holds for a recording of these commits that was cut somewhere, when it is opened again."""
    cut = folder / "cut.gz"
    cut.write_bytes(content)
    done = sum(end <= len(content) for end in ends)
    with Recording(cut) as recording:
        assert recording.end == ([0, *ends][done]) == cut.stat().st_size
        assert recording.position == (place(done) if done else None)
        assert recording.counts == counted(done)
        recording.append([Point("after", "1", START)], place(99), counted(99), durable=False)
    assert len(read(cut)) == sum(commits[:done]) + 1
    assert opened(cut).position == place(99)


def test_cut_at_every_byte_it_is_whole_lines_and_the_position_that_belongs_to_them(tmp_path: Path) -> None:
    ends = filled(tmp_path / "crawl.gz", [2, 0, 5])
    whole = (tmp_path / "crawl.gz").read_bytes()
    for length in range(len(whole) + 1):
        cut_and_gone_on_with(tmp_path, whole[:length], ends, [2, 0, 5])


@settings(max_examples=60, deadline=None)
@given(commits=st.lists(st.integers(0, 30), min_size=1, max_size=6), data=st.data())
def test_cut_anywhere_with_anything_behind_it_is_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, commits: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    ends = filled(folder / "crawl.gz", commits)
    whole = (folder / "crawl.gz").read_bytes()
    end = data.draw(st.sampled_from(ends))
    # What a power cut leaves behind the last whole page may be anything.
    content = whole[:end] + data.draw(st.binary(max_size=40).filter(lambda junk: not whole[end:].startswith(junk[:1])))
    assert len(opened_bytes(folder, content)) == end
    cut_and_gone_on_with(folder, whole[: data.draw(st.integers(0, len(whole)))], ends, commits)


def still_gzip(content: bytes) -> bool:
    """Whether every reader of gzip reads it."""
    try:
        gzip.decompress(content)
    except (EOFError, OSError, zlib.error):
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bytes_that_changed_in_the_unsynced_tail_are_cut_and_never_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "crawl.gz"
    ends = filled(path, [2, 3, 1])
    content, before = bytearray(path.read_bytes()), read(path)
    at = data.draw(st.integers(ends[0], ends[2] - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    done = 1 if at < ends[1] else 2
    if at + 9 in ends and still_gzip(bytes(content)):  # A bit behind the last code of a deflated stream means nothing.
        done = 3
    assert (opened(path).position, path.stat().st_size) == (place(done), ends[done - 1])
    assert read(path) == before[: [2, 5, 6][done - 1]]


def test_a_stream_that_does_not_end_where_it_must_is_cut(tmp_path: Path) -> None:
    """The bit that says which block of a stream is its last: without it the lines are there, and no gzip reads on."""
    path = tmp_path / "crawl.gz"
    ends = filled(path, [2, 3])
    content = bytearray(path.read_bytes())
    content[ends[0] + parse(bytes(content[ends[0] :]), ends[0]).head] ^= 1
    assert not still_gzip(bytes(content))
    path.write_bytes(content)
    assert (opened(path).position, path.stat().st_size) == (place(1), ends[0])


def test_damage_where_it_was_on_the_disk_is_refused_and_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "crawl.gz"
    recording = Recording(path)
    for number in (1, 2, 3):
        recording.append([Point("a", "1", START)], place(number), EventCounts(), durable=True)
    recording.close()
    content = bytearray(path.read_bytes())
    content[recording.end // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="damaged at byte"):
        Recording(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [b"x", gzip.compress(b"timeline.total_fetched 1 1\n", mtime=0), b"\x1f\x8b\x08\x00", b"\0" * 99],
    ids=["a letter", "gzip of another", "a beginning of gzip", "zeros"],
)
def test_a_file_of_somebody_elses_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "precious.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not a recording"):
        Recording(path)
    assert path.read_bytes() == content


def test_a_long_recording_opens_by_its_tail(tmp_path: Path) -> None:
    path = tmp_path / "crawl.gz"
    recording = Recording(path)
    noise = [Point(f"stats.ops.timeline.{os.urandom(40).hex()}", "1", START + n) for n in range(20_000)]
    for number in range(8):
        recording.append(noise, place(number), EventCounts(), durable=False)
    recording.close()
    assert recording.end > 4 * TAIL
    assert opened(path).position == place(7)
    with path.open("r+b") as file:
        file.truncate(recording.end - 1)
    assert opened(path).position == place(6)


def test_two_cannot_write_one_recording(tmp_path: Path) -> None:
    first = Recording(tmp_path / "crawl.gz")
    with pytest.raises(UsageError, match="is being written by another"):
        Recording(tmp_path / "crawl.gz")
    first.close()
    Recording(tmp_path / "crawl.gz").close()


def test_what_need_not_be_durable_at_once_is_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, synced = [0.0], []
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(now[0]))
    recording = Recording(tmp_path / "crawl.gz", clock=lambda: now[0])
    for second in range(12):
        now[0] = float(second)
        recording.append([], None, EventCounts(), durable=False)
    assert synced == [SYNC_S, 2 * SYNC_S]
    recording.append([], None, EventCounts(), durable=True)
    assert synced[-1] == now[0]


def test_a_full_disk_leaves_whole_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(tmp_path / "crawl.gz")
    recording.append([Point("a", "1", START)], place(1), EventCounts(), durable=True)
    end = recording.end

    def full(handle: int, data: bytes, offset: int) -> None:
        os.pwrite(handle, data[:20], offset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("services.stats.recording.recording.write_all", full)
    with pytest.raises(DatasetError, match="the disk is full"):
        recording.append([Point("b", "1", START)], place(2), EventCounts(), durable=True)
    assert (recording.end, recording.path.stat().st_size, recording.position) == (end, end, place(1))


def test_the_list_of_what_was_counted_from_the_dataset_goes_with_its_commit(tmp_path: Path) -> None:
    path = tmp_path / "crawl.gz"
    recording = Recording(path)
    jobs = CountedJobs.unpacked(
        b"".join(n.to_bytes(8, "little") for n in sorted(mark(Operation.TIMELINE, u) for u in "abc"))
    )
    recording.recount([], place(5), EventCounts(known=1_790_000_000_000), jobs)
    recording.close()
    (tmp_path / "crawl.gz.known-000000000001").write_bytes(b"of a run that was killed before its commit")
    again = opened(path)
    assert mark(Operation.TIMELINE, "b") in again.known
    assert mark(Operation.TIMELINE, "d") not in again.known
    assert mark(Operation.FOLLOWER, "b") not in again.known
    assert len(list(tmp_path.glob("*.known-*"))) == 1


WRITER = """
import sys
import zlib
from pathlib import Path
from services.stats.counts import EventCounts
from services.stats.recording.points import Point
from services.stats.recording.recording import Recording
from services.subscriber.consumer import Position
recording = Recording(Path(sys.argv[1]))
sequence = recording.position.sequence if recording.position else 0
while True:
    sequence += 1
    counts = recording.counts.copy()
    counts.leads += 1
    points = [Point("stats.ops.timeline.w", str(sequence), 1)]
    recording.append(points, Position("c", "i", sequence), counts, durable=sequence % 3 == 0)
    print(sequence, flush=True)
"""


def test_killed_again_and_again_each_result_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "crawl.gz"
    for kill in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(20 + 7 * kill):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
    values = [int(p.value) for p in read(path)]
    assert values == list(range(1, len(values) + 1))
    recording = opened(path)
    assert recording.position == Position("c", "i", len(values))
    assert recording.counts.leads == len(values) >= 150


@pytest.mark.slow
def test_a_reader_may_come_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "crawl.gz"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.DEVNULL) as writer:
        until(path.exists, 30)
        seen = [0]
        for _ in range(30):
            until(lambda: len(read(path)) > seen[-1], 10)
            values = [int(p.value) for p in read(path)]
            assert values == list(range(1, len(values) + 1))
            seen.append(len(values))
        writer.kill()


@pytest.mark.parametrize(
    "line",
    [
        b"a 1",
        b"a 1 2 3",
        b"a b 2",
        b"a nan 2",
        b"a 1e999 2",
        b"a 1 -2",
        b"a b 1 2",
        b"\xff 1 2",
        b"a;b 1 2",
        b"",
        b"a" * 2000 + b" 1 2",
    ],
)
def test_what_is_no_point_is_not_taken_for_one(line: bytes) -> None:
    assert point(line) is None


def test_lines_of_the_original_are_points() -> None:
    assert point(b"stats.ops.timeline.worker-012 200 1340000000") == Point(
        "stats.ops.timeline.worker-012", "200", 1340000000
    )
    assert point(b"load 0.25 1340000000.75") == Point("load", "0.25", 1340000000)


@pytest.mark.slow
def test_plain_files_and_one_long_member_are_read_too_and_oddities_counted(tmp_path: Path) -> None:
    lines = b"".join(b"a.b %d %d\n" % (n, START + n) for n in range(50_000))
    for content in (lines, gzip.compress(lines), gzip.compress(lines[:100]) + gzip.compress(lines[100:])):
        (tmp_path / "any").write_bytes(content)
        odd = Oddities()
        assert b"".join(p.line() for p in points_of(tmp_path / "any", odd)) == lines
        assert odd == Oddities()
    (tmp_path / "any").write_bytes(gzip.compress(b"a 1 1\nnonsense\n" + b"x" * 5000 + b"\nb 2 2\n" + lines)[:-50])
    odd = Oddities()
    found = list(points_of(tmp_path / "any", odd))
    assert (found[0].name, found[1].name, odd.lines, odd.torn) == ("a", "b", 2, True)
    assert len(found) > 40_000
