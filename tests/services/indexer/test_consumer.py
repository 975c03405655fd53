"""In the end the index holds what the dataset holds, each post once, whatever was lost, repeated, cut or given up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from protocol.errors import DatasetError
from protocol.jobs import Operation, Outcome
from services.indexer.consumer import Indexer
from services.indexer.engines.index_location import ENGINES, LocalLocation
from services.indexer.index import Changes, SearchAnswer
from services.indexer.posts import Document
from services.indexer.progress import IndexAction, IndexProgress
from services.indexer.query import Query
from services.indexer.rebuild import opened
from services.subscriber.consumer import Event, Position
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind
from tests.services.indexer import model
from tests.services.indexer.written import dataset_in, done, line, on_file, page, store


class Cut(Exception):
    """The process died here."""


class Remembered:
    """An index in memory, whose process dies before its n-th commit from now, or right behind it."""

    def __init__(self) -> None:
        self.posts: dict[str, Document] = {}
        self.left: str | None = None
        self.dies: int | None = None
        self.commits = 0

    def commit(self, changes: Changes, mark: str | None) -> None:
        self._live()
        for identifier, post in changes.items():
            if post:
                self.posts[identifier] = post
            else:
                self.posts.pop(identifier, None)
        self.left = self.left if mark is None else mark
        self.commits += 1
        self._live()

    def _live(self) -> None:
        if self.dies is not None:
            self.dies -= 1
            if self.dies < 0:
                self.dies = None
                raise Cut

    def mark(self) -> str | None:
        return self.left

    def ids_of(self, account: str) -> set[str]:
        return {post.id for post in self.posts.values() if post.account == account}

    def accounts(self) -> set[str]:
        return {post.account for post in self.posts.values()}

    def search(self, query: Query) -> SearchAnswer:
        return model.answer(self.posts, query)

    def post(self, identifier: str) -> Document | None:
        return self.posts.get(identifier)

    def count(self) -> int:
        return len(self.posts)

    def close(self) -> None: ...


def at(sequence: int) -> Position:
    return Position("ledger", "first", sequence)


@pytest.fixture
def dataset(tmp_path: Path) -> FileDataset:
    return dataset_in(tmp_path / "data")


def posts(first: int, last: int, account: str = "12") -> list[bytes]:
    return [line(number, account, f"rain {number}") for number in range(last, first - 1, -1)]


def test_posts_are_there_before_their_job_is_done(dataset: FileDataset) -> None:
    index = Remembered()
    Indexer(index, dataset).apply([page(1, "12", 3, posts(1, 3))], at(1))
    assert sorted(index.posts) == ["1", "2", "3"]


def test_a_job_that_came_whole_is_taken_without_its_file(dataset: FileDataset) -> None:
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([page(1, "12", 3, posts(4, 6)), page(2, "12", 4, posts(3, 3)), done(3, "12", 6, posts(1, 2))], at(3))
    assert sorted(index.posts) == ["1", "2", "3", "4", "5", "6"]
    assert indexer.position() == at(3)
    assert index.commits == 1


def test_a_page_that_did_not_come_along_is_read_from_the_file(dataset: FileDataset) -> None:
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([page(1, "12", 3, None)], at(1))
    store(dataset, "12", posts(1, 5))
    Indexer(index, dataset).apply([done(2, "12", 5, posts(1, 2))], at(2))
    assert sorted(index.posts) == ["1", "2", "3", "4", "5"]


def test_an_end_whose_page_did_not_come_along_is_read_from_the_file(dataset: FileDataset) -> None:
    index = Remembered()
    store(dataset, "12", posts(1, 5))
    Indexer(index, dataset).apply([done(1, "12", 5, None)], at(1))
    assert index.posts == on_file(dataset)


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.COMPLETE])
def test_pages_of_an_account_that_became_a_tombstone_go(dataset: FileDataset, outcome: Outcome) -> None:
    index = Remembered()
    events = [page(1, "12", 3, posts(1, 3)), done(2, "12", 3, None, outcome=outcome)]
    Indexer(index, dataset).apply(events, at(2))
    assert not index.posts


def test_pages_of_a_dead_letter_go_and_all_comes_when_it_is_taken_up_again(dataset: FileDataset) -> None:
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([page(1, "12", 3, posts(4, 6))], at(1))
    indexer.apply([Event(2, "job.dead", ["T", "12", 5, "why", "worker"])], at(2))
    assert not index.posts
    store(dataset, "12", posts(1, 6))
    indexer.apply([page(3, "12", 5, posts(2, 3)), done(4, "12", 6, posts(1, 1))], at(4))
    assert index.posts == on_file(dataset)


def test_a_job_that_began_anew_leaves_nothing_of_its_first_run(dataset: FileDataset) -> None:
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([page(1, "12", 3, posts(4, 6)), page(2, "12", 2, posts(5, 6))], at(2))
    store(dataset, "12", posts(5, 6))
    indexer.apply([done(3, "12", 2, [])], at(3))
    assert index.posts == on_file(dataset)


def test_a_job_that_was_open_when_all_was_compared_is_read_from_its_file(dataset: FileDataset) -> None:
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([page(1, "12", 3, posts(4, 6))], at(1))
    indexer.resynchronise(at(1))
    assert not index.posts
    store(dataset, "12", posts(3, 6))
    indexer.apply([done(2, "12", 4, posts(3, 3))], at(2))
    assert index.posts == on_file(dataset)


def test_a_comparison_that_was_cut_off_leaves_no_job_that_seems_whole(dataset: FileDataset) -> None:
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([page(1, "12", 3, posts(4, 6))], at(1))
    index.dies = 3
    with pytest.raises(Cut):
        indexer.resynchronise(at(1))
    assert not index.posts
    store(dataset, "12", posts(3, 6))
    Indexer(index, dataset).apply([done(2, "12", 4, posts(3, 3))], at(2))
    assert index.posts == on_file(dataset)


def test_what_belongs_to_no_timeline_changes_nothing(dataset: FileDataset) -> None:
    index = Remembered()
    events = [done(1, "12", 900, [b"34"], operation="F"), Event(2, "job.failed", ["T", "12", 1, "", ""])]
    Indexer(index, dataset).apply([*events, Event(3, "job.new", [1, 2, 3])], at(3))
    assert not index.posts
    assert IndexProgress.unpacked(index.left).position == at(3)


def test_no_events_still_store_the_position(dataset: FileDataset) -> None:
    index = Remembered()
    Indexer(index, dataset).apply([], at(7))
    assert Indexer(index, dataset).position() == at(7)


def test_a_damaged_payload_is_read_from_the_file(dataset: FileDataset) -> None:
    index = Remembered()
    store(dataset, "12", posts(1, 2))
    event = done(1, "12", 2, posts(1, 2))
    assert event.payload
    Indexer(index, dataset).apply([Event(1, event.topic, event.record, event.payload[:-9])], at(1))
    assert index.posts == on_file(dataset)


def test_a_dataset_that_is_not_mounted_takes_nothing_from_the_index(tmp_path: Path) -> None:
    index = Remembered()
    indexer = Indexer(index, FileDataset(tmp_path / "away"))
    indexer.apply([done(1, "12", 2, posts(1, 2))], at(1))
    with pytest.raises(DatasetError, match="is its volume mounted"):
        indexer.apply([done(2, "12", 5, None)], at(2))
    assert sorted(index.posts) == ["1", "2"]
    assert IndexProgress.unpacked(index.left).position == at(1)


def test_a_file_that_is_damaged_takes_nothing_from_the_index(dataset: FileDataset) -> None:
    index = Remembered()
    store(dataset, "12", posts(1, 3))
    indexer = Indexer(index, dataset)
    indexer.apply([done(1, "12", 3, None)], at(1))
    path = dataset.path("12", RecordKind.TIMELINE)
    path.write_bytes(path.read_bytes()[:-12])
    indexer.apply([done(2, "12", 9, None)], at(2))
    assert sorted(index.posts) == ["1", "2", "3"]


def test_more_than_one_commit_holds_is_stored_under_the_former_mark(
    dataset: FileDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.indexer.index.MAX_DOCUMENTS", 10)
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([], at(1))
    index.dies = 3
    with pytest.raises(Cut):
        indexer.apply([done(2, "12", 25, posts(1, 25))], at(2))
    assert len(index.posts) == 20
    indexer = Indexer(index, dataset)
    assert indexer.position() == at(1)
    indexer.apply([done(2, "12", 25, posts(1, 25))], at(2))
    assert len(index.posts) == 25


def test_more_open_jobs_than_are_followed_are_read_when_they_end(
    dataset: FileDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.indexer.progress.MAX_OPEN", 1)
    index = Remembered()
    indexer = Indexer(index, dataset)
    indexer.apply([page(1, "12", 1, posts(1, 1)), page(2, "34", 1, posts(2, 2, "34"))], at(2))
    assert sorted(index.posts) == ["1"]
    store(dataset, "34", posts(2, 3, "34"))
    indexer.apply([done(3, "34", 2, posts(3, 3, "34"))], at(3))
    assert sorted(index.posts) == ["1", "2", "3"]


def test_another_job_of_an_account_is_not_taken_for_whole_after_a_comparison() -> None:
    progress = IndexProgress()
    assert progress.page("T", "12", 3, 3) is IndexAction.TAKE
    assert progress.done("U", "12", "protected", 0, None) is IndexAction.COMPARE
    assert progress.done("T", "12", "complete", 4, 1) is IndexAction.COMPARE


# ------------------------------------------------------------------------------------ any order of any kind of accident


class World:
    """A crawl of three accounts, as the dataset and the announcements of what was committed tell it."""

    def __init__(self, folder: Path) -> None:
        self.dataset = dataset_in(folder)
        self.events: list[Event] = []
        self._jobs: dict[tuple[str, str], list[bytes]] = {}
        self._count: dict[tuple[str, str], int] = {}
        self._next = 1

    def lines(self, account: str, number: int, again: bool) -> list[bytes]:
        """New posts, or some that came before in another version."""
        found = []
        for _ in range(number):
            identifier = max(1, self._next - 3) if again else self._next
            self._next += not again
            found.append(line(f"{account}{identifier:04d}", account, f"version {len(self.events)}"))
            again = False
        return found

    def page(self, account: str, operation: str, number: int, came: bool, again: bool) -> None:
        key = operation, account
        lines = self.lines(account, number, again)
        self._jobs.setdefault(key, []).extend(lines)
        self._count[key] = self._count.get(key, 0) + number
        self._tell(page(0, account, self._count[key], lines if came else None, operation))

    def restart(self, account: str, operation: str) -> None:
        if (operation, account) in self._jobs:
            self._jobs[operation, account], self._count[operation, account] = [], 0

    def end(self, account: str, operation: str, number: int, came: bool, outcome: Outcome) -> None:
        key = operation, account
        lines = self.lines(account, number, False) if outcome is Outcome.COMPLETE else []
        kept, records = self._jobs.pop(key, []) + lines, self._count.pop(key, 0) + len(lines)
        if outcome is Outcome.COMPLETE:
            store(self.dataset, account, list(dict.fromkeys(reversed(kept))), Operation(operation))
        self._tell(done(0, account, records, lines if came else None, operation, outcome))

    def dead(self, account: str, operation: str) -> None:
        if (operation, account) in self._jobs:
            self._tell(Event(0, "job.dead", [operation, account, 5, "", ""]))

    def finish(self) -> None:
        for operation, account in list(self._jobs):
            self.end(account, operation, 1, True, Outcome.COMPLETE)

    def _tell(self, event: Event) -> None:
        self.events.append(Event(len(self.events) + 1, event.topic, event.record, event.payload))


ACCOUNTS, OPERATIONS = st.sampled_from(["12", "34", "at"]), st.just("T")
ENDS = st.sampled_from([Outcome.COMPLETE, Outcome.COMPLETE, Outcome.COMPLETE, Outcome.PROTECTED])
ACTS = st.one_of(
    st.tuples(st.just("page"), ACCOUNTS, OPERATIONS, st.integers(1, 3), st.booleans(), st.booleans()),
    st.tuples(st.just("page"), ACCOUNTS, OPERATIONS, st.integers(1, 3), st.just(True), st.just(False)),
    st.tuples(st.just("end"), ACCOUNTS, OPERATIONS, st.integers(0, 3), st.booleans(), ENDS),
    st.tuples(st.just("restart"), ACCOUNTS, OPERATIONS),
    st.tuples(st.just("dead"), ACCOUNTS, OPERATIONS),
    st.just(("apply",)),
    st.just(("apply",)),
    st.tuples(st.just("kill"), st.integers(0, 4)),
    st.just(("resynchronise",)),
)


def follow(world: World, index: Remembered, indexer: Indexer) -> Iterator[None]:
    """Apply what has not been applied, in batches of up to three; each is one step."""
    position = indexer.position()
    applied = position.sequence if position else 0
    while applied < len(world.events):
        batch = world.events[applied : applied + 3]
        applied += len(batch)
        indexer.apply(batch, at(applied))
        yield


Acts = list[tuple[object, ...]]
SOME = st.lists(ACTS, min_size=4, max_size=40)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SOME)
def test_the_index_ends_as_the_dataset_whatever_happens(acts: Acts) -> None:
    check_that_it_ends_as_the_dataset(acts)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@settings(max_examples=3_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SOME)
def test_the_index_ends_as_the_dataset_for_long(acts: Acts) -> None:
    check_that_it_ends_as_the_dataset(acts)


def check_that_it_ends_as_the_dataset(acts: Acts) -> None:
    with TemporaryDirectory() as folder:
        world, index = World(Path(folder) / "data"), Remembered()
        indexer = Indexer(index, world.dataset)
        for name, *arguments in acts:
            try:
                if name == "kill":
                    (index.dies,) = arguments  # type: ignore[assignment]
                elif name == "apply":
                    for _ in follow(world, index, indexer):
                        pass
                elif name == "resynchronise":
                    indexer.resynchronise(at(len(world.events)))
                else:
                    getattr(world, str(name))(*arguments)
            except Cut:
                indexer = Indexer(index, world.dataset)
        index.dies = None
        world.finish()
        for _ in follow(world, index, indexer):
            pass
        assert index.posts == on_file(world.dataset)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_real_index_follows_too(engine: str, tmp_path: Path) -> None:
    world = World(tmp_path / "data")
    home = LocalLocation(tmp_path / "index", engine)
    with home.lock():
        index = opened(home, world.dataset)
        indexer = Indexer(index, world.dataset)
        for account in ("12", "34"):
            world.page(account, "T", 3, True, False)
            world.page(account, "T", 2, account == "12", True)
        world.end("12", "T", 2, True, Outcome.COMPLETE)
        world.end("34", "T", 2, True, Outcome.COMPLETE)
        indexer.apply(world.events[:3], at(3))
        assert Indexer(index, world.dataset).position() == at(3)
        indexer.apply(world.events[3:], at(6))
        assert {post.id: post for post in index.search(Query(limit=100)).hits} == on_file(world.dataset)
        indexer.resynchronise(at(9))
        assert {post.id: post for post in index.search(Query(limit=100)).hits} == on_file(world.dataset)
        index.close()
