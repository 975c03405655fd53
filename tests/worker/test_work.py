"""The work on one lease: what it stores, what it tells, and how each kind of trouble ends it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as wire
from protocol.errors import DatasetError
from protocol.jobs import Operation, Outcome, Segment
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Page, Record, RecordKind
from tests.storage.dataset.pages import draft, posts
from tests.waiting import until
from worker.client.allowance import GrantEmptyError, RequestAllowance
from worker.client.errors import UnavailableError
from worker.client.heard_budgets import HeardBudgets
from worker.client.retrying_client import ServiceError
from worker.modules.module import FetchedPage
from worker.sources.source import Profile, SourceReader
from worker.work import JobTools, Told, Work

USER, TOKEN = "12", "t2"
WITHIN_S = 60.0


def record(number: int) -> Record:
    return Record(str(number), b'{"id":%d}' % number)


class Pages:
    """A module that gives these pages, counted by its cursor; an exception among them is raised at its place."""

    def __init__(self, *pages: FetchedPage | BaseException) -> None:
        self._pages = pages
        self.met: list[str] = []

    def pages(self, user: str, cursor: str, reader: SourceReader, met: Iterable[str] = ()) -> Iterator[FetchedPage]:
        self.met = list(met)
        for page in self._pages[int(cursor or 0) :]:
            if isinstance(page, BaseException):
                raise page
            yield page

    def found_before(self, user: str) -> Iterator[str]:
        return iter(["31", "32"])


class NoSource:
    service = "none"
    profiles_at_once = 1

    def __init__(self) -> None:
        self.budgets = HeardBudgets()

    def callers(self) -> list[wire.Caller]:
        return []

    def reader(self, who: str, allowance: RequestAllowance, told: Callable[..., None]) -> Any:
        return self

    def profiles(self, users: Sequence[str]) -> list[Profile]:
        return []


class Bench:
    """A lease at work in a thread of its own, and what it told."""

    def __init__(self, folder: Path, module: Pages, dataset: FileDataset | None = None, **job: Any) -> None:
        self.dataset = dataset or FileDataset(folder)
        self.told: list[Told] = []
        self.allowance = RequestAllowance(9)
        first: dict[str, Any] = {
            "token": TOKEN,
            "operation": "T",
            "user": USER,
            "depth": 0,
            "steps": 0,
            "records": 0,
            "cursor": "",
            "segments": [],
            "who": "host:here",
            "granted": 9,
        }
        tools = JobTools(self.dataset, NoSource(), {Operation.TIMELINE: module}, self.told.append, lambda: "main")
        self.thread = threading.Thread(
            target=Work(wire.Assignment(**(first | job)), self.allowance, tools).run, daemon=True
        )
        self.thread.start()

    def waits(self, told: int) -> None:
        until(lambda: len(self.told) >= told, WITHIN_S)

    def end(self) -> wire.End:
        """Commit every step until the end."""
        while True:
            if self.told and isinstance(self.told[-1], wire.End):
                self.thread.join(WITHIN_S)
                return self.told[-1]
            before = len(self.told)
            self.allowance.commit(9)
            self.waits(before + 1)

    def stored(self) -> list[int]:
        return [json.loads(line)["id"] for line in self.dataset.lines(USER, RecordKind.TIMELINE)]


def ids_in(payload: bytes) -> list[int]:
    """The posts that ride along for those who listen."""
    return [json.loads(line)["id"] for line in gzip.decompress(payload).splitlines()]


TWO = FetchedPage((record(9), record(8)), "1", expected=4)
ONE = FetchedPage((record(7),), "2")
LAST = FetchedPage((record(5),), "", found=("77",))


def test_pages_are_stored_told_and_waited_for_and_the_last_one_is_merged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Pages(TWO, ONE, LAST))
    bench.waits(1)
    first = bench.told[0]
    assert isinstance(first, wire.Step)
    assert first._replace(length=0, payload=b"") == wire.Step(TOKEN, 1, 2, "1", 0, [], 0)
    assert ids_in(first.payload) == [9, 8]
    assert list(bench.dataset.segments()) == [Segment(TOKEN, first.length)]
    end = bench.end()
    assert end._replace(payload=b"") == wire.End(TOKEN, wire.DONE, 3, 4, "complete", ["77"], 0, "", stored=1)
    assert ids_in(end.payload) == [5]
    assert bench.stored() == [9, 8, 7, 5]
    receipt = bench.dataset.receipt(USER, Operation.TIMELINE)
    assert receipt is not None
    assert (receipt.received, receipt.expected, receipt.pages, receipt.tokens) == (4, 4, 3, (TOKEN,))
    assert (receipt.cursors.first, receipt.crawl, receipt.outcome) == (("1", "2", ""), "main", Outcome.COMPLETE)


def before(tmp_path: Path) -> tuple[FileDataset, int]:
    """What an earlier lease stored: the first page."""
    dataset = FileDataset(tmp_path)
    return dataset, dataset.append(USER, Operation.TIMELINE, "t1", 0, Page(TWO.records, "1"))


def test_a_job_goes_on_where_an_earlier_lease_ended(tmp_path: Path) -> None:
    dataset, length = before(tmp_path)
    pages = Pages(TWO, ONE, LAST)
    bench = Bench(tmp_path, pages, dataset, steps=1, records=2, cursor="1", segments=[["t1", length]])
    assert bench.end()._replace(payload=b"") == wire.End(TOKEN, wire.DONE, 3, 4, "complete", ["77"], 0, "", stored=1)
    step = bench.told[0]
    assert isinstance(step, wire.Step)
    assert (step.step, step.records) == (2, 3)
    assert bench.stored() == [9, 8, 7, 5]
    receipt = dataset.receipt(USER, Operation.TIMELINE)
    assert receipt is not None
    assert receipt.tokens == ("t1", TOKEN)
    assert pages.met == ["1"], "the cursors so far"


def test_a_lease_that_comes_back_goes_on_in_its_own_segment(tmp_path: Path) -> None:
    dataset, _ = before(tmp_path)
    own = dataset.append(USER, Operation.TIMELINE, TOKEN, 0, Page(TWO.records, "1"))
    dataset.append(USER, Operation.TIMELINE, TOKEN, own, Page((record(6),), "x"))  # never accepted
    bench = Bench(tmp_path, Pages(TWO, ONE, LAST), dataset, steps=1, records=2, cursor="1", segments=[[TOKEN, own]])
    assert bench.end().how == wire.DONE
    assert bench.stored() == [9, 8, 7, 5]


@pytest.mark.parametrize(("there", "missing"), [(0, 0), (1, 0), (1, 1)])
def test_a_segment_that_is_gone_or_short_is_noticed_before_anything_is_asked(
    tmp_path: Path, there: int, missing: int
) -> None:
    dataset, length = before(tmp_path)
    if not there:
        dataset.discard([Segment("t1", 0)])
    wanted = [["t1", length + missing]] if there and missing else [["t1", length], ["t0", 1]]
    bench = Bench(tmp_path, Pages(AssertionError("asked")), dataset, steps=1, segments=wanted)
    end = bench.end()
    assert (end.how, end.step) == (wire.LOST, 0)
    assert "segment" in end.words


def test_a_module_that_raises_fails_its_job_in_words_and_the_log_has_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    end = Bench(tmp_path, Pages(TWO, ZeroDivisionError("a bug"))).end()
    assert (end.how, end.words) == (wire.FAILED, "ZeroDivisionError: a bug")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_is_raised_the_job_does_not_hang(tmp_path: Path, error: BaseException) -> None:
    end = Bench(tmp_path, Pages(TWO, error)).end()
    assert end.how == wire.FAILED
    assert type(error).__name__ in end.words


@pytest.mark.parametrize("cursor", ["1", ""])
@pytest.mark.parametrize(
    "found", [tuple(map(str, range(wire.MAX_FOUND + 1))), ("7", "8" * 256), ("",), ("\ud800",)], ids=len
)
def test_a_page_of_which_no_message_can_tell_fails_its_job_in_words(
    tmp_path: Path, found: tuple[str, ...], cursor: str
) -> None:
    bench = Bench(tmp_path, Pages(FetchedPage((record(9),), cursor, found)))
    end = bench.end()
    assert end.how == wire.FAILED
    assert "a page leads to" in end.words
    assert bench.stored() == []
    assert not list(bench.dataset.segments())


@pytest.mark.parametrize("module", [Pages(), Pages(TWO)])
def test_a_module_without_a_last_page_fails_its_job(tmp_path: Path, module: Pages) -> None:
    end = Bench(tmp_path, module).end()
    assert end.how == wire.FAILED
    assert "last page" in end.words


def test_an_empty_grant_gives_the_job_back_with_what_it_spent(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Pages(TWO, GrantEmptyError()))
    bench.waits(1)
    bench.allowance.spend()
    bench.allowance.answered()
    end = bench.end()
    assert (end.how, end.spent, end.words) == (wire.LIMITED, 1, "")
    assert list(bench.dataset.segments()), "what was accepted stays for the next lease"


@pytest.mark.parametrize("pages", [(), (TWO,)])
def test_an_account_that_is_not_shown_any_more_keeps_what_was_got_and_says_why(
    tmp_path: Path, pages: tuple[FetchedPage, ...]
) -> None:
    bench = Bench(tmp_path, Pages(*pages, UnavailableError(Outcome.PROTECTED, "Not authorized.")))
    end = bench.end()
    assert (end.how, end.outcome, end.step) == (wire.DONE, "protected", len(pages) + 1)
    receipt = bench.dataset.receipt(USER, Operation.TIMELINE)
    assert receipt is not None
    assert (receipt.outcome, receipt.why) == (Outcome.PROTECTED, "Not authorized.")
    assert bench.stored() == ([9, 8] if pages else [])


def test_a_service_that_refuses_fails_the_try(tmp_path: Path) -> None:
    end = Bench(tmp_path, Pages(ServiceError("500, asked 4 times"))).end()
    assert (end.how, end.words) == (wire.FAILED, "500, asked 4 times")


def test_words_of_any_length_fit_into_a_message(tmp_path: Path) -> None:
    end = Bench(tmp_path, Pages(ServiceError("ü\ud800" * 10_000))).end()
    assert wire.decode(wire.encode(wire.Result([end], []))) == wire.Result([end], [])


class FullDisk(FileDataset):
    def append(self, user: str, operation: Operation, token: str, offset: int, page: Page) -> int:
        raise DatasetError("cannot write a segment: the disk is full; make room, and the crawl goes on")


def test_a_full_disk_fails_the_try_in_words(tmp_path: Path) -> None:
    end = Bench(tmp_path, Pages(TWO, LAST), FullDisk(tmp_path)).end()
    assert end.how == wire.FAILED
    assert "the disk is full" in end.words


def test_a_lost_lease_stops_without_a_word(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Pages(TWO, ONE, LAST))
    bench.waits(1)
    bench.allowance.stop()
    bench.thread.join(WITHIN_S)
    assert not bench.thread.is_alive()
    assert len(bench.told) == 1
    assert bench.stored() == []


def test_a_job_that_this_crawl_has_done_before_is_ended_by_its_receipt(tmp_path: Path) -> None:
    first = Bench(tmp_path, Pages(FetchedPage((record(9), record(8)), "1"), FetchedPage((record(7),), "")))
    assert first.end().how == wire.DONE
    never = Pages(RuntimeError("the service was asked"))
    again = Bench(tmp_path, never, token="second:1", steps=4).end()
    assert (again.how, again.step, again.records, again.spent) == (wire.DONE, 5, 3, 0)
    assert again.found == ["31", "32"], "what it led to is told again: the ledger may have lost it too"
    assert first.stored() == [9, 8, 7]


def test_a_job_is_done_anew_when_its_file_is_gone(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    assert Bench(tmp_path, Pages(FetchedPage((record(9),), "")), dataset).end().how == wire.DONE
    dataset.path(USER, RecordKind.TIMELINE).unlink()
    again = Bench(tmp_path, Pages(FetchedPage((record(9), record(8)), "")), dataset, token="second:1")
    assert (again.end().records, again.stored()) == (2, [9, 8])


def test_what_another_crawl_has_done_is_done_anew(tmp_path: Path) -> None:
    dataset = FileDataset(tmp_path)
    dataset.merge(USER, Operation.TIMELINE, [], posts([5]), replace(draft("old:1"), crawl="another"))
    again = Bench(tmp_path, Pages(FetchedPage((record(9),), "")), dataset)
    assert again.end().records == 1, "its own page, fetched"
