"""The union is a function: the same as the obvious model, the same each time, and idempotent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from storage.dataset.files.gzip_members import Chunk, GzipMembers
from storage.dataset.files.merge import MAX_MEMBERS, count, union
from storage.dataset.interface import Page, RecordKind
from tests.storage.dataset import pages as build

NUMBERS = st.integers(0, 40).map(str)
NAMES = st.sampled_from(["a", "b", "at://c", "D", "é", "007", "9"])


def paged(ids: st.SearchStrategy[str], kind: RecordKind) -> st.SearchStrategy[list[Page]]:
    """Up to five pages of up to six records, in any order and with repetitions."""
    make = build.followers if kind is RecordKind.FOLLOWERS else build.posts
    one = st.lists(ids, max_size=6)
    if kind is not RecordKind.FOLLOWERS:
        return st.lists(st.tuples(one, st.sampled_from("vw")).map(lambda both: build.posts(*both)), max_size=5)
    return st.lists(one.map(make), max_size=5)


def row(data: bytes) -> list[Chunk]:
    return GzipMembers.of_bytes("a file", data).chunks()


def lines_of(data: bytes) -> list[bytes]:
    return [line for chunk in row(data) for line in chunk.lines()]


@pytest.mark.parametrize("kind", RecordKind)
@pytest.mark.parametrize("ids", [NUMBERS, NAMES, NUMBERS | NAMES], ids=["numbers", "names", "both"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_union_is_the_models_and_idempotent(
    kind: RecordKind, ids: st.SearchStrategy[str], data: st.DataObject
) -> None:
    old = data.draw(paged(ids, kind))
    fresh = data.draw(paged(ids, kind))
    most = data.draw(st.sampled_from([1, MAX_MEMBERS]))
    before = build.written(union(kind, build.chunks(kind, old), [], most))
    assert lines_of(before) == build.modelled(kind, old, [])

    after = build.written(union(kind, build.chunks(kind, fresh), row(before), most))
    assert lines_of(after) == build.modelled(kind, fresh, lines_of(before))
    assert after == build.written(union(kind, build.chunks(kind, fresh), row(before), most))

    again = build.written(union(kind, build.chunks(kind, fresh), row(after), most))
    assert lines_of(again) == lines_of(after)
    counted = count(kind, row(again))
    assert counted.records == counted.distinct == len(lines_of(again))


def test_members_that_no_other_touches_are_copied() -> None:
    kind = RecordKind.TIMELINE
    old = build.chunks(kind, [build.posts(range(100, 90, -1)), build.posts(range(90, 80, -1))])
    fresh = build.chunks(kind, [build.posts([105, 104])])
    assert list(union(kind, fresh, old)) == fresh + old


def test_only_members_that_meet_are_decoded() -> None:
    kind = RecordKind.TIMELINE
    old = build.chunks(kind, [build.posts(range(100, 90, -1)), build.posts(range(90, 80, -1))])
    fresh = build.chunks(kind, [build.posts([101, 100], "new")])
    first, second = union(kind, fresh, old)
    assert isinstance(first, list)
    assert [identifier for identifier, _ in first] == [str(n) for n in range(101, 90, -1)]
    assert b"new" in first[1][1]
    assert second is old[1]


def test_the_same_pages_again_leave_the_same_bytes() -> None:
    kind = RecordKind.TIMELINE
    fresh = build.chunks(kind, [build.posts([9, 8]), build.posts([7, 6])])
    once = build.written(union(kind, fresh, []))
    assert build.written(union(kind, fresh, row(once))) == once


@pytest.mark.parametrize("kind", RecordKind)
def test_more_than_64_members_become_few(kind: RecordKind) -> None:
    make = build.followers if kind is RecordKind.FOLLOWERS else build.posts
    many = build.chunks(kind, [make([1_000 - n]) for n in range(MAX_MEMBERS + 1)])
    data = build.written(union(kind, many, []))
    assert len(row(data)) == 1
    assert len(lines_of(data)) == MAX_MEMBERS + 1


def test_joined_members_stay_within_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.dataset.files.merge.JOINED_BYTES", 1_000)
    many = build.chunks(RecordKind.TIMELINE, [build.posts([1_000 - n]) for n in range(200)])
    joined = row(build.written(union(RecordKind.TIMELINE, many, [])))
    assert 1 < len(joined) < 200
    assert all(chunk.member.plain <= 1_000 for chunk in joined)
    assert sum(chunk.member.count for chunk in joined) == 200


def test_numeric_ids_beyond_any_machine_word_keep_their_order() -> None:
    ids = [10**30, 2**64, 2**63 - 1, 2**53 + 1, 2**53, 9, 0]
    data = build.written(union(RecordKind.TIMELINE, build.chunks(RecordKind.TIMELINE, [build.posts(ids[::-1])]), []))
    assert lines_of(data) == [build.post(str(n)).line for n in ids]
