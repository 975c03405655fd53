"""An index that meets another ledger, or a dataset that lost files, holds what the dataset holds in the end."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from services.indexer.consumer import Indexer
from services.indexer.engines.index_location import ENGINES, ElasticLocation, IndexLocation, LocalLocation
from services.indexer.posts import Document
from services.indexer.query import Query
from services.indexer.rebuild import another, opened
from services.subscriber.consumer import Position
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import RecordKind
from tests.services.indexer.opensearch import OpenSearch
from tests.services.indexer.written import dataset_in, done, line, on_file, page, store

ADOPTED = Position("another", "second", 9)


def crawled(folder: Path, *accounts: str, word: str = "rain") -> FileDataset:
    dataset = dataset_in(folder)
    for account in accounts:
        store(dataset, account, [line(f"{account}{n:03d}", account, f"{word} {n}") for n in range(20, 0, -1)])
    return dataset


def following(home: IndexLocation, dataset: FileDataset) -> Indexer:
    """An indexer that has followed a first ledger, in which one job is still open."""
    indexer = Indexer(opened(home, dataset), dataset, anew=lambda position: another(home, dataset, position))
    open_job = page(8, "78", 1, [line(7, "78", "early")])
    indexer.apply([done(7, "12", 20, None), open_job], Position("ledger", "first", 8))
    return indexer


def held(home: IndexLocation) -> dict[str, Document]:
    reader = home.reader()
    found = {post.id: post for post in reader.search(Query(limit=1_000)).hits}
    assert reader.count() == len(found)
    reader.close()
    return found


def check_another_crawl(home: IndexLocation, folder: Path) -> str:
    """The index of a first crawl meets a second one in the place of the first; returns where the first one's is."""
    indexer = following(home, crawled(folder / "data", "12", "34"))
    former = home.present()
    assert former
    shutil.rmtree(folder / "data")
    dataset = crawled(folder / "data", "12", "56", word="snow")
    indexer.resynchronise(ADOPTED)
    indexer.apply([], Position("another", "second", 10))
    indexer.close()
    assert held(home) == on_file(dataset)
    assert home.present() != former
    return former


@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_of_another_crawl_is_kept_and_another_one_is_built(
    engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    home = LocalLocation(tmp_path / "index", engine)
    former = Path(check_another_crawl(home, tmp_path))
    assert "the index is of another crawl, and is kept" in caplog.text
    assert "the index of the other crawl is kept" in caplog.text
    reader = ENGINES[engine].read(former)
    assert reader.count() == 41
    reader.close()
    dataset = FileDataset(tmp_path / "data")
    indexer = Indexer(opened(home, dataset), dataset)
    assert indexer.position() == Position("another", "second", 10)
    indexer.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_of_another_crawl_that_followed_nothing_is_kept_too(engine: str, tmp_path: Path) -> None:
    home = LocalLocation(tmp_path / "index", engine)
    opened(home, crawled(tmp_path / "data", "12", "34")).close()
    shutil.rmtree(tmp_path / "data")
    dataset = crawled(tmp_path / "data", "12", word="snow")
    indexer = Indexer(opened(home, dataset), dataset, anew=lambda position: another(home, dataset, position))
    open_job = page(2, "56", 1, [line("56002", "56")])
    indexer.apply([done(1, "12", 20, None), open_job], Position("another", "second", 2))
    store(dataset, "56", [line("56002", "56"), line("56001", "56")])
    indexer.apply([done(3, "56", 2, [line("56001", "56")])], Position("another", "second", 3))
    indexer.close()
    assert held(home) == on_file(dataset)
    assert home.present() == str(tmp_path / "index" / f"{engine}-000002")


def check_lost_files(home: IndexLocation, folder: Path) -> None:
    dataset = crawled(folder / "data", "12", "34", "a/b")
    indexer = following(home, dataset)
    for account in ("34", "a/b"):
        dataset.path(account, RecordKind.TIMELINE).unlink()
    indexer.resynchronise(Position("ledger", "second", 9))
    indexer.close()
    assert held(home) == on_file(dataset)
    assert len(held(home)) == 20


@pytest.mark.parametrize("engine", ENGINES)
def test_posts_go_whose_file_went_and_it_is_said(engine: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = LocalLocation(tmp_path / "index", engine)
    check_lost_files(home, tmp_path)
    said = next(one for one in caplog.records if "their posts are taken out" in one.message)
    assert vars(said)["fields"] == {"accounts": 2, "posts": 40}
    assert home.present() == str(tmp_path / "index" / f"{engine}-000001")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_new_ledger_for_the_same_dataset_needs_no_new_index(engine: str, tmp_path: Path) -> None:
    dataset = crawled(tmp_path / "data", "12", "34")
    home = LocalLocation(tmp_path / "index", engine)
    indexer = following(home, dataset)
    former = home.present()
    indexer.resynchronise(ADOPTED)
    indexer.close()
    assert home.present() == former
    assert held(home) == on_file(dataset)


@pytest.mark.slow
def test_on_a_search_server_it_is_the_same(
    search_server: OpenSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.indexer.engines.elastic._PAGE", 2)
    former = check_another_crawl(ElasticLocation(search_server.url, "main", tmp_path), tmp_path)
    reader = ElasticLocation(search_server.url, "main", tmp_path).reader()
    assert former == "tmatic-main-000001"
    reader.close()
    (tmp_path / "lost").mkdir()
    check_lost_files(ElasticLocation(search_server.url, "lost", tmp_path), tmp_path / "lost")
