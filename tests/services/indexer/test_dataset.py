"""What the dataset is taken for when it is older than the events, or cannot be read."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import pytest

from protocol.errors import DatasetError
from protocol.settings.settings import Settings
from services.indexer.consumer import Indexer
from services.indexer.engines.index_location import ENGINES, LocalLocation
from services.indexer.query import Query
from services.indexer.rebuild import opened
from services.indexer.search import Search
from services.subscriber.consumer import Position
from storage.dataset.interface import RecordKind
from tests.services.indexer.written import dataset_in, done, line, store


def posts(first: int, last: int) -> list[bytes]:
    return [line(number, "12", f"rain {number}") for number in range(last, first - 1, -1)]


def at(sequence: int) -> Position:
    return Position("ledger", "first", sequence)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_first_index_holds_what_the_dataset_held_before_the_first_event(engine: str, tmp_path: Path) -> None:
    dataset = dataset_in(tmp_path / "data")
    store(dataset, "12", posts(1, 3))
    home = LocalLocation(tmp_path / "index", engine)
    index = opened(home, dataset)
    indexer = Indexer(index, dataset)
    assert indexer.position() is None
    indexer.apply([done(1, "34", 1, posts(7, 7))], at(1))
    index.close()
    reader = home.reader()
    assert {post.id for post in reader.search(Query(limit=100)).hits} == {"1", "2", "3", "7"}
    reader.close()


def test_lines_that_are_no_posts_are_left_out_and_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = rb'{"id_str":"%d","text":"rain \ud83d"}'
    lines = [*posts(3, 4), half % 2, b"no post", posts(1, 1)[0]]
    dataset = dataset_in(tmp_path / "data")
    path = dataset.path("12", RecordKind.TIMELINE)
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    home = LocalLocation(tmp_path / "index", "tantivy")
    opened(home, dataset).close()
    search = Search(
        Settings(output_directory=tmp_path / "data", index_directory=tmp_path / "index", index_engine="tantivy")
    )
    assert [post.id for post in search.search("rain").answer.hits] == ["4", "3", "1"]
    assert search.whole("1") == lines[-1]
    search.close()
    said = [vars(one)["fields"] for one in caplog.records if "are no posts" in one.message]
    assert [(one["account"], one["lines"]) for one in said] == [("12", 2)]
    assert "is not JSON" in said[0]["why"]


def test_a_file_that_the_system_does_not_let_us_read_stops_the_indexer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_in(tmp_path / "data")
    index = opened(LocalLocation(tmp_path / "index", "tantivy"), dataset)
    store(dataset, "12", posts(1, 3))
    indexer = Indexer(index, dataset)

    def refused(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        with pytest.raises(DatasetError, match="cannot read"):
            indexer.apply([done(1, "12", 3, None)], at(1))
    assert indexer.position() is None and index.count() == 0
    index.close()
