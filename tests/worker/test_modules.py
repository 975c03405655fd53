"""The four modules, on a service that is a few lists in memory: whole, resumed at every page, and led in circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from protocol.jobs import Operation, Outcome, Segment
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Page, Record
from storage.dataset.receipts import ReceiptDraft
from worker.client.attempt_counter import AttemptCounter
from worker.client.errors import UnavailableError
from worker.modules import modules
from worker.modules.module import FetchedPage, Module
from worker.modules.pagination import RETRIES, walk
from worker.sources.source import Profile, SourcePage

USER = "12"
AT_ONCE = 3


def post(number: int) -> Record:
    return Record(str(number), b'{"id": %d}' % number)


def ids(records: Sequence[Record]) -> list[str]:
    return [record.id for record in records]


class Empty(Exception):
    """No request is left."""


@dataclass
class Lists:
    """A service in memory. `twist` may change each page of posts or followers before it is given; `granted` is how
    many of them may be asked for."""

    posted: list[int] = field(default_factory=lambda: list(range(20, 0, -1)))
    following: list[str] = field(default_factory=lambda: [str(n * 7) for n in range(11)])
    hidden: frozenset[str] = frozenset()
    twist: Callable[[SourcePage, str], SourcePage] = lambda got, cursor: got
    asked: list[str] = field(default_factory=list)
    granted: int = 1_000

    def posts(self, user: str, cursor: str, since: str) -> SourcePage:
        self.asked.append(cursor)
        shown = [n for n in self.posted if n <= int(cursor or 99) and n > int(since or 0)][:AT_ONCE]
        return self.twist(
            SourcePage(tuple(map(post, shown)), str(shown[-1] - 1) if shown else "", len(self.posted)), cursor
        )

    def followers(self, user: str, cursor: str) -> SourcePage:
        if not self.granted:
            raise Empty
        self.granted -= 1
        self.asked.append(cursor)
        start = int(cursor or 0)
        end = start + AT_ONCE
        records = tuple(Record(one, one.encode()) for one in self.following[start:end])
        return self.twist(SourcePage(records, str(end) if end < len(self.following) else ""), cursor)

    def profiles(self, users: Sequence[str]) -> list[Profile]:
        self.asked.append(",".join(users))
        return [
            Profile(Record(user, b'{"id": %s}' % user.encode()), {"number": int(user)})
            for user in users
            if user not in self.hidden
        ]


@pytest.fixture
def dataset(tmp_path: Path) -> FileDataset:
    return FileDataset(tmp_path)


def all_modules(dataset: FileDataset) -> dict[Operation, Module]:
    return modules(dataset, lambda profile: profile["number"] % 2 == 1, AT_ONCE)


def keep_followers(dataset: FileDataset, followers: Sequence[str]) -> None:
    page = Page(tuple(Record(one, one.encode()) for one in followers))
    dataset.merge(USER, Operation.FOLLOWER, (), page, ReceiptDraft("main"))


def keep_posts(dataset: FileDataset, *numbers: int) -> None:
    page = Page(tuple(map(post, numbers)))
    dataset.merge(USER, Operation.TIMELINE, (), page, ReceiptDraft("main"))


def check_shape(pages: Sequence[FetchedPage]) -> None:
    assert all(page.cursor for page in pages[:-1])
    assert pages[-1].cursor == ""


@pytest.mark.parametrize("operation", list(Operation))
def test_each_module_resumes_at_any_page_as_if_nothing_had_happened(dataset: FileDataset, operation: Operation) -> None:
    keep_followers(dataset, Lists().following)
    keep_posts(dataset, 6, 5)
    whole = list(all_modules(dataset)[operation].pages(USER, "", Lists()))
    check_shape(whole)
    assert len(whole) > 3
    keep_posts(dataset, 20, 19)  # what is stored meanwhile does not change an update that has begun
    for done, page in enumerate(whole[:-1], start=1):
        assert list(all_modules(dataset)[operation].pages(USER, page.cursor, Lists())) == whole[done:]


def test_a_timeline_goes_back_to_an_empty_page(dataset: FileDataset) -> None:
    service = Lists()
    pages = list(all_modules(dataset)[Operation.TIMELINE].pages(USER, "", service))
    assert [one for page in pages for one in ids(page.records)] == [str(n) for n in range(20, 0, -1)]
    assert pages[-1].records == ()
    assert pages[0].expected == 20


def test_a_short_page_is_not_the_end_of_a_timeline(dataset: FileDataset) -> None:
    def shortened(got: SourcePage, cursor: str) -> SourcePage:
        return SourcePage(got.records[:1], str(int(got.records[0].id) - 1)) if got.records else got

    pages = list(all_modules(dataset)[Operation.TIMELINE].pages(USER, "", Lists(twist=shortened)))
    assert [one for page in pages for one in ids(page.records)] == [str(n) for n in range(20, 0, -1)]


def test_an_empty_page_with_a_cursor_is_not_the_end_of_a_list(dataset: FileDataset) -> None:
    service = Lists(twist=lambda got, cursor: SourcePage((), "0000") if cursor == "3" else got)
    pages = list(all_modules(dataset)[Operation.FOLLOWER].pages(USER, "3", service))
    assert pages[0].records == ()
    assert pages[0].cursor == "0000"


def test_a_list_comes_in_the_services_order(dataset: FileDataset) -> None:
    pages = list(all_modules(dataset)[Operation.FOLLOWER].pages(USER, "", Lists()))
    assert [one for page in pages for one in ids(page.records)] == Lists().following


@pytest.mark.parametrize("newest", [(), (4, 3), (20,)])
def test_an_update_brings_what_is_newer_and_all_where_there_is_nothing(
    dataset: FileDataset, newest: tuple[int, ...]
) -> None:
    if newest:
        keep_posts(dataset, *newest)
    service = Lists()
    pages = list(all_modules(dataset)[Operation.UPDATE].pages(USER, "", service))
    wanted = [str(n) for n in range(20, newest[0] if newest else 0, -1)]
    assert [one for page in pages for one in ids(page.records)] == wanted
    if newest == (20,):
        assert len(service.asked) == 1


def test_an_analysis_asks_for_the_whole_list_in_its_order_and_finds_by_the_rule(dataset: FileDataset) -> None:
    keep_followers(dataset, [str(n) for n in range(1, 11)])
    service = Lists(hidden=frozenset({"3"}))
    pages = list(all_modules(dataset)[Operation.ANALYSE].pages(USER, "", service))
    check_shape(pages)
    assert service.asked == ["1,2,3", "4,5,6", "7,8,9", "10"]
    assert [one for page in pages for one in ids(page.records)] == ["1", "2", "4", "5", "6", "7", "8", "9", "10"]
    assert [one for page in pages for one in page.found] == ["1", "5", "7", "9"]
    assert pages[-1].expected == 10


@pytest.mark.parametrize("count", [0, AT_ONCE])
def test_a_list_that_fills_its_pages_is_analysed_without_one_request_too_many(dataset: FileDataset, count: int) -> None:
    keep_followers(dataset, [str(n) for n in range(count)])
    service = Lists()
    check_shape(list(all_modules(dataset)[Operation.ANALYSE].pages(USER, "", service)))
    assert len(service.asked) == (1 if count else 0)


def test_an_analysis_without_a_list_ends_as_no_list(dataset: FileDataset) -> None:
    with pytest.raises(UnavailableError) as ended:
        list(all_modules(dataset)[Operation.ANALYSE].pages(USER, "", Lists()))
    assert ended.value.outcome is Outcome.NO_LIST


def repeated(times: int) -> Callable[[SourcePage, str], SourcePage]:
    """The page behind "6" gives its own cursor so many times."""
    left = iter(range(times))

    def twist(got: SourcePage, cursor: str) -> SourcePage:
        return SourcePage(got.records, cursor) if cursor == "6" and next(left, None) is not None else got

    return twist


@pytest.mark.parametrize("operation", [Operation.TIMELINE, Operation.FOLLOWER, Operation.UPDATE])
def test_a_cursor_that_repeats_is_asked_for_again_three_times(dataset: FileDataset, operation: Operation) -> None:
    module = all_modules(dataset)[operation]
    start = " 6" if operation is Operation.UPDATE else "6"
    sound = list(module.pages(USER, start, Lists()))
    service = Lists(twist=repeated(RETRIES))
    assert list(module.pages(USER, start, service)) == sound
    assert service.asked.count("6") == RETRIES + 1


@pytest.mark.parametrize("operation", [Operation.TIMELINE, Operation.FOLLOWER, Operation.UPDATE])
def test_a_cursor_that_stays_stuck_ends_the_job_with_what_was_got(dataset: FileDataset, operation: Operation) -> None:
    service = Lists(twist=repeated(99))
    start = " 6" if operation is Operation.UPDATE else "6"
    [page] = all_modules(dataset)[operation].pages(USER, start, service)
    assert page.outcome is Outcome.CURSOR_STUCK
    assert "6" in page.why
    assert len(page.records) == AT_ONCE
    assert service.asked.count("6") == RETRIES + 1


def test_a_circle_of_cursors_is_noticed() -> None:
    after = {"": "a", "a": "b", "b": "c", "c": "a"}
    asked: list[str] = []

    def ask(cursor: str) -> SourcePage:
        asked.append(cursor)
        return SourcePage((), after[cursor])

    pages = list(walk("F 12", "", ask, AttemptCounter()))
    assert [page.cursor for page in pages] == ["a", "b", "c", ""]
    assert pages[-1].outcome is Outcome.CURSOR_STUCK
    assert asked == ["", "a", "b", *["c"] * (RETRIES + 1)]


def test_a_circle_of_cursors_is_noticed_however_short_the_leases_are(dataset: FileDataset) -> None:
    """Each lease has one request, and is worked on by whoever comes first of two workers."""
    after = {"": "101", "101": "102", "102": "103", "103": "101"}
    service = Lists(twist=lambda got, cursor: SourcePage(got.records, after[cursor]))
    workers = [all_modules(dataset)[Operation.FOLLOWER] for _ in range(2)]
    segments: list[Segment] = []
    cursor = ""
    for turn in range(20):
        walked = workers[turn % 2].pages(USER, cursor, service, dataset.cursors(segments))
        service.granted = 1
        try:
            page = next(walked)
        except Empty:
            continue
        if not page.cursor:
            break
        cursor, stored = page.cursor, Page(page.records, page.cursor)
        segments.append(Segment(f"t{turn}", dataset.append(USER, Operation.FOLLOWER, f"t{turn}", 0, stored)))
    assert page.outcome is Outcome.CURSOR_STUCK
    assert [*dataset.cursors(segments)] == ["101", "102", "103"]


def test_a_stuck_cursor_is_given_up_however_small_the_grants_are() -> None:
    patience = AttemptCounter()

    def granted_one() -> Callable[[str], SourcePage]:
        left: Iterator[None] = iter([None])

        def ask(cursor: str) -> SourcePage:
            if next(left, "none") == "none":
                raise Empty
            return SourcePage((), cursor)

        return ask

    for _ in range(RETRIES):
        with pytest.raises(Empty):
            list(walk("F 12", "a", granted_one(), patience))
    [page] = walk("F 12", "a", granted_one(), patience)
    assert page.outcome is Outcome.CURSOR_STUCK


def test_a_rule_that_raises_is_not_swallowed(dataset: FileDataset) -> None:
    def rule(profile: dict[str, Any]) -> bool:
        raise KeyError("gone")

    keep_followers(dataset, ["1"])
    with pytest.raises(KeyError):
        list(modules(dataset, rule, AT_ONCE)[Operation.ANALYSE].pages(USER, "", Lists()))
