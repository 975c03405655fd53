"""Whatever is killed, comes late, or is lost on the way: the lookup ends with what the files say."""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DatasetError
from services.lookup.consumer import LookupConsumer, LookupStoppedError
from services.lookup.reading import LookupReader
from services.lookup.store import Store
from services.subscriber.consumer import Consumer, Event, Position
from storage.dataset.files.dataset import FileDataset
from tests.checkout import ROOT
from tests.services.indexer.written import dataset_in
from tests.services.lookup.making import (
    at,
    dead_event,
    done_event,
    in_files,
    in_lookup,
    page_event,
    payload,
    profile,
    store_profiles,
)
from tests.waiting import until

Line = tuple[int, int, int]
"""Of a profile: id, name, posts."""


def written(page: Sequence[Line]) -> list[bytes]:
    return [profile(of, f"name{name}", posts=posts) for of, name, posts in page]


@dataclass(frozen=True)
class Job:
    """An analysis, page by page, and how it fares."""

    pages: list[list[Line]]
    fate: str

    def happens(self, user: str) -> list[tuple[str, int, list[bytes] | None]]:
        """What is announced of it, in order: what, records so far, lines."""
        pages = [written(page) for page in self.pages]
        told: list[tuple[str, int, list[bytes] | None]] = []
        if self.fate == "restarted":
            stale = [profile(of, "stale", posts=99) for of, _, _ in self.pages[0]]
            told.append(("page", len(stale), stale))
        received = 0
        for number, page in enumerate(pages):
            received += len(page)
            if number < len(pages) - 1:
                told.append(("page", received, page))
                if self.fate == "revived":
                    told.append(("dead", 0, None))
            elif self.fate == "dead":
                told.append(("dead", 0, None))
            elif self.fate == "suspended":
                told.append(("gone", received - len(page), None))
            else:
                told.append(("done", received, page))
        return told

    def store(self, dataset: FileDataset, user: str) -> None:
        if self.fate not in ("dead", "suspended"):
            store_profiles(dataset, user, [line for page in self.pages for line in written(page)])


def event_of(sequence: int, user: str, what: str, received: int, lines: list[bytes] | None) -> Event:
    if what == "page":
        return page_event(sequence, user, received, lines)
    if what == "dead":
        return dead_event(sequence, user)
    return done_event(sequence, user, received, lines, outcome="complete" if what == "done" else "suspended")


lines = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(0, 2))
jobs = st.builds(
    Job,
    st.lists(st.lists(lines, max_size=4), min_size=1, max_size=3),
    st.sampled_from(["complete", "complete", "dead", "revived", "restarted", "suspended"]),
)


def held(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.execute("SELECT * FROM held"))
    finally:
        connection.close()


def followed(
    folder: Path, dataset: FileDataset, events: Sequence[Event], chance: random.Random, *, killed: bool, resync: bool
) -> Path:
    """The database of a lookup that followed these events, in batches, with or without ends in between."""
    path = folder / f"{chance.random()}.db"
    store = Store(path)
    consumer = LookupConsumer(store, dataset)
    rest = list(events)
    if resync:
        cut = chance.randint(0, len(rest))
        if cut and chance.random() < 0.5:
            consumer.apply(rest[: cut // 2], at(cut // 2))
        consumer.resynchronise(at(cut))
        rest = rest[cut:]
    while rest:
        number = chance.randint(1, 4)
        some, rest = rest[:number], rest[number:]
        consumer.apply(some, at(some[-1].sequence))
        if killed and chance.random() < 0.5:
            store.close()
            store = Store(path)
            consumer = LookupConsumer(store, dataset)
            assert consumer.position() == at(some[-1].sequence)
    store.close()
    return path


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(by_user=st.lists(jobs, min_size=1, max_size=4), chance=st.randoms(use_true_random=False))
def test_live_killed_late_and_made_anew_end_with_what_the_files_say(by_user: list[Job], chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = dataset_in(folder / "data")
        queues = {f"u{number}": job.happens(f"u{number}") for number, job in enumerate(by_user)}
        for number, job in enumerate(by_user):
            job.store(dataset, f"u{number}")
        events: list[Event] = []
        while any(queues.values()):
            user = chance.choice([one for one, queue in queues.items() if queue])
            events.append(event_of(len(events) + 1, user, *queues[user].pop(0)))
        late = [replace(event, payload=None) for event in events]
        some = [event if chance.random() < 0.5 else replace(event, payload=None) for event in events]
        expected = in_files(dataset)
        live = followed(folder, dataset, events, chance, killed=False, resync=False)
        assert in_lookup(live) == expected
        for told, killed in ((events, True), (late, False), (some, True)):
            path = followed(folder, dataset, told, chance, killed=killed, resync=False)
            assert in_lookup(path) == expected
            assert held(path) == held(live)
        for told in (events, some):
            path = followed(folder, dataset, told, chance, killed=True, resync=True)
            assert in_lookup(path) == expected
            assert {row[:2] for row in held(path)} >= {row[:2] for row in held(live)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Store, FileDataset, LookupConsumer]]:
    dataset = dataset_in(tmp_path / "data")
    store = Store(tmp_path / "lookup.db")
    yield store, dataset, LookupConsumer(store, dataset)
    store.close()


Place = tuple[Store, FileDataset, LookupConsumer]


def test_it_is_a_consumer_and_remembers_its_position(place: Place) -> None:
    store, _, lookup = place
    consumer: Consumer = lookup
    assert consumer.position() is None
    consumer.apply([], at(3))
    assert consumer.position() == at(3)
    assert LookupConsumer(store, place[1]).position() == at(3)


def test_a_page_is_shown_before_its_analysis_is_done(place: Place) -> None:
    store, _, consumer = place
    consumer.apply([page_event(1, "u", 1, [profile(1)])], at(1))
    assert LookupReader(store.path).by_id("1") == profile(1)
    assert LookupReader(store.path).overview().analyses == 1


def test_what_is_settled_counts_before_a_page_of_an_analysis_under_way(place: Place) -> None:
    store, _, consumer = place
    consumer.apply([done_event(1, "u", 1, [profile(1, posts=1)]), page_event(2, "v", 1, [profile(1, posts=2)])], at(2))
    assert LookupReader(store.path).by_id("1") == profile(1, posts=1)
    consumer.apply([done_event(3, "v", 1, [])], at(3))
    assert LookupReader(store.path).by_id("1") == profile(1, posts=2)


def test_an_older_profile_never_replaces_a_newer_one(place: Place) -> None:
    store, _, consumer = place
    consumer.apply([done_event(1, "u", 1, [profile(1, posts=5)]), done_event(2, "v", 1, [profile(1, posts=4)])], at(2))
    assert LookupReader(store.path).by_id("1") == profile(1, posts=5)


def test_of_one_analysis_the_first_profile_of_an_account_counts_as_in_its_file(place: Place) -> None:
    store, dataset, consumer = place
    twice = [profile(1, posts=1), profile(1, posts=2)]
    store_profiles(dataset, "u", twice)
    store_profiles(dataset, "v", [profile(2, posts=1), profile(2, posts=2)])
    consumer.apply([done_event(1, "u", 2, twice), page_event(2, "v", 1, [profile(2, posts=1)])], at(2))
    consumer.apply([done_event(3, "v", 2, [profile(2, posts=2)])], at(3))
    assert in_lookup(store.path) == in_files(dataset) == {"1": twice[0], "2": profile(2, posts=1)}


def test_when_a_page_did_not_come_along_the_file_is_read_once_the_job_is_done(place: Place) -> None:
    store, dataset, consumer = place
    consumer.apply([page_event(1, "u", 2, None)], at(1))
    store_profiles(dataset, "u", [profile(1), profile(2), profile(3)])
    assert in_lookup(store.path) == {}
    consumer.apply([done_event(2, "u", 3, [profile(3)])], at(2))
    assert set(in_lookup(store.path)) == {"1", "2", "3"}


def test_profiles_that_are_in_no_file_are_told_of(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store, _, consumer = place
    consumer.apply([done_event(1, "u", 3, None), done_event(2, "v", 0, None)], at(2))
    assert in_lookup(store.path) == {}
    assert [told.message for told in caplog.records] == ["the profiles of an analysis are not in the dataset"]


def test_a_start_in_the_middle_of_a_job_is_noticed_by_the_number_of_its_records(place: Place) -> None:
    store, dataset, consumer = place
    store_profiles(dataset, "u", [profile(1), profile(2), profile(3)])
    consumer.apply([page_event(5, "u", 2, [profile(2)])], at(5))
    consumer.apply([done_event(6, "u", 3, [profile(3)])], at(6))
    assert set(in_lookup(store.path)) == {"1", "2", "3"}


def test_a_page_that_cannot_be_read_is_told_of_and_taken_from_the_file(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    store, dataset, consumer = place
    store_profiles(dataset, "u", [profile(1)])
    consumer.apply([replace(done_event(1, "u", 1, None), payload=payload([profile(1)])[:-4])], at(1))
    assert set(in_lookup(store.path)) == {"1"}
    assert "cannot be read" in caplog.text


def test_a_line_that_is_no_profile_is_told_of_and_left_out(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store, _, consumer = place
    consumer.apply([done_event(1, "u", 3, [b"nonsense", profile(1), b"{}"])], at(1))
    assert set(in_lookup(store.path)) == {"1"}
    (told,) = caplog.records
    assert told.levelno == logging.WARNING and "no profile" in told.message


def test_other_jobs_and_records_of_another_shape_change_nothing(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store, _, consumer = place
    consumer.apply([done_event(1, "u", 9, [profile(1)], of="T"), done_event(2, "u", 9, [profile(1)], of="F")], at(2))
    assert not caplog.records
    strange = [Event(3, "user.page", []), Event(4, "user.page", [1, "u"]), Event(5, "job.done", ["A"])]
    consumer.apply([*strange, Event(6, "user.unheard-of", [])], at(6))
    assert in_lookup(store.path) == {} and consumer.position() == at(6)
    assert len(caplog.records) == 3


def test_a_dataset_that_cannot_be_read_stops_it_in_words_and_nothing_is_stored(place: Place) -> None:
    _, dataset, consumer = place
    store_profiles(dataset, "u", [profile(n) for n in range(50)])
    (file,) = [path for _, path in dataset.files()]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DatasetError, match="damaged"):
        consumer.apply([done_event(1, "u", 50, None)], at(1))
    assert consumer.position() is None


def test_told_to_end_while_all_is_made_anew_it_breaks_off_and_nothing_has_changed(place: Place) -> None:
    store, dataset, consumer = place
    store_profiles(dataset, "u", [profile(1)])
    consumer.apply([done_event(1, "u", 1, [profile(1)])], at(1))
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(LookupStoppedError):
        LookupConsumer(store, dataset, stopped).resynchronise(at(9))
    assert in_lookup(store.path) == {"1": profile(1)} and consumer.position() == at(1)


def test_another_ledger_is_another_log(place: Place) -> None:
    store, dataset, consumer = place
    store_profiles(dataset, "u", [profile(1)])
    consumer.apply([done_event(500, "u", 1, [profile(1)])], at(500))
    consumer.resynchronise(Position("another", "i", 3))
    (one,) = LookupReader(store.path).names("1")
    assert (one.first, one.last) == (3, 3)


def test_gauges_are_remembered_and_other_things_passed_over(place: Place) -> None:
    _, _, consumer = place
    assert consumer.gauges() is None
    consumer.hear("log.master", {"message": "x"})
    consumer.hear("stats.gauges", "nonsense")
    assert consumer.gauges() is None
    consumer.hear("stats.gauges", {"crawl": "main"})
    told = consumer.gauges()
    assert told is not None and told[0] < 60 and told[1] == {"crawl": "main"}


SCRIPT = """
import sys, pathlib
from services.lookup.consumer import LookupConsumer
from services.lookup.store import Store
from storage.dataset.files.dataset import FileDataset
from tests.services.lookup.making import at
from tests.services.lookup.test_consumer import many_events
folder = pathlib.Path(sys.argv[1])
consumer = LookupConsumer(Store(folder / "lookup.db"), FileDataset(folder / "data"))
before = consumer.position()
print("on", flush=True)
for event in many_events():
    if before is None or event.sequence > before.sequence:
        consumer.apply([event], at(event.sequence))
print("done", flush=True)
"""

USERS = 40


def many_events() -> Iterator[Event]:
    """Analyses of three pages each; of every second one the first page does not come along."""
    for user in range(USERS):
        pages = [[profile(100 * user + 30 * n + m, posts=n) for m in range(50)] for n in range(3)]
        yield page_event(3 * user + 1, f"u{user}", 50, pages[0] if user % 2 else None)
        yield page_event(3 * user + 2, f"u{user}", 100, pages[1])
        yield done_event(3 * user + 3, f"u{user}", 150, pages[2])


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_what_the_files_say(tmp_path: Path) -> None:
    dataset = dataset_in(tmp_path / "data")
    for user in range(USERS):
        stored = [profile(100 * user + 30 * n + m, posts=n) for n in range(3) for m in range(50)]
        store_profiles(dataset, f"u{user}", stored)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    database = tmp_path / "lookup.db"

    def come_to() -> int:
        with sqlite3.connect(database) as connection:
            row = connection.execute("SELECT position FROM place").fetchone()
            return 0 if row is None else Position.parse(row[0]).sequence

    for kill in range(6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if kill < 5:
                least = come_to() + random.Random(kill).randint(1, 15)
                until(lambda least=least: come_to() >= least or process.poll() is not None, 20)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
            else:
                assert process.stdout.readline() == b"done\n"
    assert in_lookup(database) == in_files(dataset)


def test_what_a_dataset_held_before_the_first_event_is_taken_in(tmp_path: Path) -> None:
    dataset = dataset_in(tmp_path / "data")
    store_profiles(dataset, "12", [profile(1), profile(2)])
    store = Store(tmp_path / "lookup.db")
    consumer = LookupConsumer(store, dataset)
    consumer.begin()
    assert store.position() is None
    consumer.apply([done_event(1, "34", 1, [profile(3)])], at(1))
    store.close()
    assert sorted(in_lookup(tmp_path / "lookup.db")) == ["1", "2", "3"]


def test_a_dataset_that_is_not_there_empties_nothing(tmp_path: Path) -> None:
    dataset = dataset_in(tmp_path / "data")
    store_profiles(dataset, "12", [profile(1)])
    store = Store(tmp_path / "lookup.db")
    LookupConsumer(store, dataset).resynchronise(at(5))
    (tmp_path / "mount").mkdir()
    with pytest.raises(DatasetError, match="is its volume mounted"):
        LookupConsumer(store, FileDataset(tmp_path / "mount")).resynchronise(at(9))
    store.close()
    assert sorted(in_lookup(tmp_path / "lookup.db")) == ["1"]
