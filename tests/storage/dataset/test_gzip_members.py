"""A member says what is in it, is gzip to everybody else, and never passes damaged bytes on."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from protocol.errors import DatasetError, MalformedError
from storage.dataset.files.gzip_members import ForeignError, GzipMembers, encode_page
from storage.dataset.interface import Page, Record, RecordKind
from tests.storage.dataset.pages import followers, posts, zcat

TIMELINE = RecordKind.TIMELINE


def test_zcat_reads_a_row_of_members(tmp_path: Path) -> None:
    pages = [posts(range(100 - 10 * n, 90 - 10 * n, -1), cursor=f"c{n}") for n in range(5)]
    path = tmp_path / "a.twt"
    path.write_bytes(b"".join(encode_page(TIMELINE, page) for page in pages))
    assert zcat(path) == [record.line for page in pages for record in page.records]


def test_a_member_says_what_is_in_it() -> None:
    data = encode_page(TIMELINE, posts([2**63 - 1, 7, 5], cursor="next"))
    (chunk,) = GzipMembers.of_bytes("a page", data).chunks()
    member = chunk.member
    assert (member.count, member.first, member.last, member.cursor) == (3, str(2**63 - 1), "5", "next")
    assert member.descending
    assert member.length == len(data)
    assert len(chunk.lines()) == 3


def test_a_timeline_page_in_disorder_is_put_in_order() -> None:
    (chunk,) = GzipMembers.of_bytes("a page", encode_page(TIMELINE, posts([5, 9, 9, 7]))).chunks()
    assert (chunk.member.count, chunk.member.first, chunk.member.last, chunk.member.descending) == (3, "9", "5", True)


def test_a_follower_page_keeps_its_order() -> None:
    (chunk,) = GzipMembers.of_bytes("a page", encode_page(RecordKind.FOLLOWERS, followers([5, 9, 7]))).chunks()
    assert chunk.lines() == [b"5", b"9", b"7"]


def test_every_single_damaged_byte_is_noticed() -> None:
    data = encode_page(TIMELINE, posts([3, 2, 1]))
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        with pytest.raises((DatasetError, MalformedError)):
            for chunk in GzipMembers.of_bytes("a page", broken).chunks():
                chunk.lines()


def test_every_cut_is_noticed() -> None:
    data = encode_page(TIMELINE, posts([3, 2, 1])) * 2
    for length in range(1, len(data)):
        if length == len(data) // 2:
            continue
        with pytest.raises((DatasetError, MalformedError)):
            GzipMembers.of_bytes("a page", data[:length]).chunks()


def test_another_programs_gzip_is_told_apart_from_damage() -> None:
    with pytest.raises(ForeignError):
        GzipMembers.of_bytes("a page", gzip.compress(b"a line\n")).chunks()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page((Record("1", b'{"id":\n1}'),)), "newline"),
        (Page((Record("2", b'{"id":1}'),)), "another id"),
        (Page((Record("1" * 2_000, b'{"id":"' + b"1" * 2_000 + b'"}'),)), "characters"),
        (posts([1], cursor="c" * 2_000), "cursor"),
    ],
)
def test_a_page_that_could_not_be_read_again_is_refused(page: Page, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        encode_page(TIMELINE, page)


def test_a_followers_line_is_the_followers_id() -> None:
    with pytest.raises(DatasetError, match="follower's id"):
        encode_page(RecordKind.FOLLOWERS, Page((Record("1", b"2"),)))
