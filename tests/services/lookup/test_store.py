"""The database: all of a change or nothing, one writer, and a history of names that nothing forgets."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DatasetError, UsageError
from services.lookup.profiles import parsed
from services.lookup.reading import LookupReader
from services.lookup.store import BusyError, Store, Writing
from tests.checkout import ROOT
from tests.services.lookup.making import at, profile

TABLES = ("place", "profile", "analysis", "held")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "lookup.db")
    yield opened
    opened.close()


def everything(path: Path) -> dict[str, list[Any]]:
    """All rows of all tables."""
    connection = sqlite3.connect(path)
    try:
        return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in TABLES}
    finally:
        connection.close()


ids = st.integers(1, 6)
versions = st.builds(lambda of, name, posts: parsed(profile(of, f"n{name}", posts=posts)), ids, ids, ids)
profiles = st.lists(versions, max_size=6)


def _page(of: int, some: list[Any]) -> Callable[[Writing], None]:
    return lambda writing: writing.pend(writing.keep_analysis(f"u{of}", of, True), some)


def _settle_pages(of: int, _: list[Any]) -> Callable[[Writing], None]:
    def change(writing: Writing) -> None:
        if under_way := writing.analysis(f"u{of}"):
            writing.settle_pages(under_way.owner, of)
            writing.end_analysis(f"u{of}")

    return change


def _settle(of: int, some: list[Any]) -> Callable[[Writing], None]:
    return lambda writing: writing.settle(some, of)


def _add(_: int, some: list[Any]) -> Callable[[Writing], None]:
    def change(writing: Writing) -> None:
        for one in some:
            writing.add(one)

    return change


def _empty(of: int, _: list[Any]) -> Callable[[Writing], None]:
    return lambda writing: writing.empty(same_log=bool(of % 2))


changes = st.builds(
    lambda make, of, some: make(of, some), st.sampled_from([_page, _settle_pages, _settle, _add, _empty]), ids, profiles
)


@settings(max_examples=8, deadline=None)
@given(transactions=st.lists(st.lists(changes, min_size=1, max_size=4), min_size=1, max_size=4))
def test_killed_between_any_two_statements_it_is_as_before_or_as_after(
    transactions: list[list[Callable[[Writing], None]]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "lookup.db"
        store = Store(path)
        store._connection.execute("PRAGMA cache_size = 1")  # so that pages go to disk before the commit, too
        before = everything(path)
        for number, transaction in enumerate(transactions):
            moments: list[Path] = []

            def killed_here(_: str, moments: list[Path] = moments, number: int = number) -> None:
                copy = folder / f"{number}-{len(moments)}.db"
                for ending in ("", "-wal"):
                    shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
                moments.append(copy)

            store._connection.set_trace_callback(killed_here)
            with store.writing() as writing:
                for change in transaction:
                    change(writing)
                writing.place(at(number))
            store._connection.set_trace_callback(None)
            after = everything(path)
            assert len(moments) >= 3 and after["place"] == [(1, str(at(number)))]
            for copy in moments:
                assert everything(copy) == before
            before = after
        store.close()
        assert everything(path) == before


def test_an_error_inside_takes_everything_back(store: Store) -> None:
    before = everything(store.path)

    def fails() -> None:
        with store.writing() as writing:
            writing.settle([parsed(profile(1))], 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert everything(store.path) == before
    with store.writing() as writing:
        writing.place(at(1))
    assert store.position() == at(1)


def test_a_second_process_is_refused_in_words(store: Store) -> None:
    with pytest.raises(UsageError, match="in use by another tmatic-lookup"):
        Store(store.path)
    script = "import sys, pathlib; from services.lookup.store import Store; Store(pathlib.Path(sys.argv[1]))"
    ran = subprocess.run(
        [sys.executable, "-c", script, str(store.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode and "in use by another" in ran.stderr


def test_it_is_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "lookup.db"
    first = Store(path)
    with first.writing() as writing:
        writing.place(at(7))
    first.close()
    second = Store(path)
    assert second.position() == at(7)
    second.close()


@pytest.mark.parametrize("what", ["text", "other", "torn"])
def test_a_file_that_is_not_ours_is_refused_in_words_and_left_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "lookup.db"
    if what == "text":
        path.write_text("this is somebody's diary\n" * 200)
    elif what == "other":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE diary (day)")
        connection.close()
    else:
        Store(path).close()
        path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8000)
    content = path.read_bytes()
    with pytest.raises((UsageError, DatasetError), match="move it away"):
        Store(path)
    assert path.read_bytes() == content
    assert not Path(f"{path}-wal").exists()


def test_readers_see_the_old_while_all_is_made_anew_and_who_adds_is_told_to_wait(store: Store) -> None:
    with store.writing() as writing:
        writing.settle([parsed(profile(1))], 1)
    reading = LookupReader(store.path)
    with store.writing() as writing:
        writing.empty(same_log=True)
        assert reading.by_id("1") == profile(1)
        with pytest.raises(BusyError, match="try again"), store.writing(within_s=0.01):
            pass
    assert reading.by_id("1") is None


def test_the_history_tells_who_had_a_name_and_when(store: Store) -> None:
    early, late = "Wed Aug 27 13:08:45 +0000 2008", "Wed Aug 27 13:08:45 +0000 2014"
    with store.writing() as writing:
        writing.settle([parsed(profile(1, "Anna", posts=1, status={"created_at": early}))], 5)
        writing.settle([parsed(profile(1, "Bella", posts=2, status={"created_at": late}))], 7)
        writing.settle([parsed(profile(2, "anna", posts=1, status={"created_at": late}))], 9)
        writing.settle([parsed(profile(2, "anna", posts=3, status={"created_at": late}))], 11)
    reading = LookupReader(store.path)
    first, second = reading.holders("ANNA")
    assert (first.id, first.current, first.first, first.last) == ("1", False, 5, 5)
    assert (second.id, second.current, second.first, second.last) == ("2", True, 9, 11)
    assert first.first_at == first.last_at == 1_219_842_525 and second.last_at == 1_409_144_925
    assert [(one.screen_name, one.current) for one in reading.names("1")] == [("Anna", False), ("Bella", True)]
    assert reading.by_name("aNNa") == profile(2, "anna", posts=3, status={"created_at": late})
    assert reading.by_name("anna bella") is None
    assert reading.overview().renamed == 1


def test_of_two_who_claim_a_name_the_one_that_posted_last_has_it(store: Store) -> None:
    late = {"created_at": "Wed Aug 27 13:08:45 +0000 2014"}
    with store.writing() as writing:
        known = [profile(3, "name", status=late), profile(20, "name"), profile(4, "other")]
        writing.settle(map(parsed, known), 1)
    reading = LookupReader(store.path)
    assert reading.by_name("name") == profile(3, "name", status=late)
    with store.writing() as writing:
        writing.settle([parsed(profile(3, "free", posts=9, status=late)), parsed(profile(9, "name"))], 2)
    assert reading.by_name("name") == profile(20, "name")  # the younger account, by its larger id


def test_what_was_added_survives_and_the_newest_of_it_and_of_the_crawl_counts(store: Store) -> None:
    with store.writing() as writing:
        writing.add(parsed(profile(1, posts=9)))
        writing.add(parsed(profile(1, "renamed", posts=5)))
        writing.settle([parsed(profile(1, posts=4))], 1)
    reading = LookupReader(store.path)
    assert reading.by_id("1") == profile(1, "renamed", posts=5)
    with store.writing() as writing:
        writing.settle([parsed(profile(1, posts=6))], 2)
    assert reading.by_id("1") == profile(1, posts=6)
    with store.writing() as writing:
        writing.empty(same_log=True)
    assert reading.by_id("1") == profile(1, "renamed", posts=5)
    assert [one.screen_name for one in reading.names("1")] == ["user1", "renamed"]


def test_sequences_of_another_ledger_are_forgotten_but_not_the_names(store: Store) -> None:
    with store.writing() as writing:
        writing.settle([parsed(profile(1))], 5)
        writing.empty(same_log=False)
    (held,) = LookupReader(store.path).holders("user1")
    assert (held.id, held.first, held.last, held.current) == ("1", None, None, False)
