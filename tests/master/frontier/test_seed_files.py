"""What comes in from files: every good line once, every bad one named with its number, and nothing ends the rest."""

from __future__ import annotations

import gzip
import logging
import lzma
from pathlib import Path

import pytest

from master.frontier.seed_files import (
    CHUNK,
    MAX_LINE_LENGTH,
    NAMED_LINES,
    SeedLines,
    is_account,
    seeds,
    targets,
    updates,
    widening,
)
from master.frontier.traversal import Traversal, Traversing
from protocol.errors import UsageError
from protocol.jobs import Job, Operation
from storage.ledger.job_codec import unpack_job
from storage.ledger.transitions import AddJobs

T, F, A, U = Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE, Operation.UPDATE
WALK = Traversal((T, A), Traversing.BFS, 2)
LARGEST = str(2**63 - 1)


def lines(folder: Path, content: bytes, *, zipped: bool = False) -> SeedLines:
    path = folder / "targets"
    path.write_bytes(gzip.compress(content) if zipped else content)
    return SeedLines(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_ids_comments_blanks_and_other_line_ends_are_understood(tmp_path: Path, zipped: bool) -> None:
    content = b"# targets\n12\n\n  13  # a friend\r\n\t14\t\n#15\n" + LARGEST.encode()
    file = lines(tmp_path, content, zipped=zipped)
    assert list(file) == ["12", "13", "14", LARGEST]
    assert (file.good, file.bad, file.damaged) == (4, 0, "")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("content", [b"\xef\xbb\xbf12\n13\n", b"\xef\xbb\xbf# friends\n12\n13\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, content: bytes, zipped: bool) -> None:
    file = lines(tmp_path, content, zipped=zipped)
    assert (list(file), file.bad) == (["12", "13"], 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty, or has comments alone"),
        (b"# nobody\n\n", "it is empty, or has comments alone"),
        (lzma.compress(b"12\n"), "it is compressed by xz, and plain text or gzip is read"),
        ("12\n13\n".encode("utf-16"), "it is UTF-16 text, and plain text or gzip is read"),
        (b"12\r13\r14\r", "its lines end in CR alone, and must end in LF"),
        (b"ann\nbob\n", "of its lines 2 are no ids, and none is one"),
        (b"\x1f\x8bnonsense", "is damaged after line 0"),
        (b"ann\n12\n", ""),
    ],
)
def test_a_file_that_names_nobody_says_why_and_nothing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, words: str
) -> None:
    file = lines(tmp_path, content)
    said = file.none()
    assert words in said and bool(words) == bool(said)
    assert (file.good, file.bad, file.damaged, caplog.records) == (0, 0, "", [])


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing\n"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_without_ids_is_no_trouble(tmp_path: Path, content: bytes, zipped: bool) -> None:
    file = lines(tmp_path, content, zipped=zipped)
    assert list(file) == []
    assert (file.bad, file.damaged) == (0, "")


def test_bad_lines_are_named_with_their_numbers_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [b"twelve", b"-5", b"0", b"007", b"1 2", b"9223372036854775808", b"\xff\xfe", "\u0663".encode(), b"1.5"]
    content = b"".join(b"%d\n%s\n" % (number, word) for number, word in enumerate(bad, 1))
    with caplog.at_level(logging.WARNING):
        file = lines(tmp_path, content)
        assert list(file) == [str(number) for number in range(1, len(bad) + 1)]
    assert file.bad == len(bad)
    told = [record.__dict__ for record in caplog.records if "not an id" in record.message]
    assert len(told) == len(bad)
    assert all(str(2 * number) in str(record) for number, record in enumerate(told, 1))


def test_only_so_many_bad_lines_are_named_and_all_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        file = lines(tmp_path, b"x\n" * 1000 + b"5\n")
        assert list(file) == ["5"]
    assert file.bad == 1000
    assert len(caplog.records) == NAMED_LINES + 1


@pytest.mark.parametrize("length", [MAX_LINE_LENGTH, MAX_LINE_LENGTH + 1, 3 * MAX_LINE_LENGTH, 10**6])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_line_that_is_too_long_is_one_bad_line(tmp_path: Path, length: int, zipped: bool) -> None:
    file = lines(tmp_path, b"1\n" + b"7" * length + b"\n2\nbad\n", zipped=zipped)
    assert list(file) == ["1", "2"]
    assert file.bad == 2


@pytest.mark.parametrize("length", [1, MAX_LINE_LENGTH + 1, 2 * MAX_LINE_LENGTH + 2, 5000])
def test_a_last_line_without_an_end_counts(tmp_path: Path, length: int) -> None:
    file = lines(tmp_path, b"1\n" + b"x" * length)
    assert list(file) == ["1"]
    assert file.bad == 1


def test_a_gzip_that_was_cut_off_gives_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    whole = gzip.compress(b"".join(b"%d\n" % number for number in range(1, 200_000)))
    path.write_bytes(whole[: len(whole) // 2])
    file = SeedLines(path)
    got = list(file)
    assert got == [str(number) for number in range(1, len(got) + 1)]
    assert 0 < len(got) < 200_000
    assert "is damaged after line" in file.damaged


@pytest.mark.parametrize("change", ["checksum", "middle", "tail"])
def test_a_damaged_gzip_is_told(tmp_path: Path, change: str) -> None:
    raw = bytearray(gzip.compress(b"".join(b"%d\n" % number for number in range(1, 50_000))))
    if change == "tail":
        raw += b"something that is no gzip"
    else:
        at = -6 if change == "checksum" else len(raw) // 2
        raw[at] ^= 0xFF
    path = tmp_path / "damaged.gz"
    path.write_bytes(raw)
    file = SeedLines(path)
    list(file)
    assert "is damaged after line" in file.damaged


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.txt cannot be read: No such file"):
        SeedLines(tmp_path / "nothing.txt").check()
    with pytest.raises(UsageError, match="is not a file"):
        SeedLines(tmp_path).check()


@pytest.mark.parametrize("word", [b"1", b"36445", LARGEST.encode()])
def test_an_id_is_a_number_as_the_service_writes_it(word: bytes) -> None:
    assert is_account(word)


@pytest.mark.parametrize("word", [b"", b"0", b"01", b"+1", b"-1", b"1_0", b"1e3", b"\xb2", str(2**63).encode()])
def test_what_is_not_written_so_is_no_id(word: bytes) -> None:
    assert not is_account(word)


def jobs(transition: AddJobs) -> list[Job]:
    return [unpack_job(job.record) for job in transition.jobs]


def test_targets_come_in_a_thousand_at_a_time_in_order() -> None:
    parts = list(targets(map(str, range(1, 2502)), WALK, "seen"))
    assert [len(jobs(part)) for part in parts] == [CHUNK, CHUNK, 501]
    assert [job.user for part in parts for job in jobs(part)] == [str(n) for n in range(1, 2502)]
    assert jobs(parts[0])[0] == Job(T, "1", 0, "", (A,))
    first = parts[0].jobs[0]
    assert (first.id, first.queue, first.level) == ("1", "T", "0")
    assert [(part.set_name, part.front) for part in parts] == [("seen", False)] * 3


def test_a_widening_brings_only_what_is_new() -> None:
    [part] = widening(["1", "2"], (F,), WALK, "widened1")
    assert part.set_name == "widened1"
    assert jobs(part) == [Job(F, "1"), Job(F, "2")]
    assert part.jobs[0].level == ""


def test_a_round_of_updates_brings_updates() -> None:
    [part] = updates(["1"], WALK, "updated1")
    assert (jobs(part), part.jobs[0].queue) == ([Job(U, "1")], "U")


def test_seeds_come_in_a_thousand_at_a_time() -> None:
    assert [len(part.accounts) for part in seeds(map(str, range(1500)))] == [1000, 500]
    assert list(seeds([])) == []


def test_a_file_that_is_written_anew_while_the_crawl_begins_is_told_and_not_taken_for_done(tmp_path: Path) -> None:
    file = SeedLines(tmp_path / "targets.txt")
    file.path.write_text("12\n")
    assert file.none() == ""
    file.path.write_text("")
    assert list(file) == []
    assert file.wrong and "written anew" in file.damaged
