"""What the monitor asks, and the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from protocol.errors import UsageError
from protocol.settings.settings import Settings
from services.indexer.engines.index_location import ENGINES, LocalLocation
from services.indexer.index import IndexingError, TornError
from services.indexer.query import Unit
from services.indexer.rebuild import rebuild
from services.indexer.search import Search
from storage.dataset.files.dataset import FileDataset
from tests.services.indexer.written import dataset_in, line, store
from tests.storage.ledger.servers import environment

DAY = 1_346_025_600
"""2012/08/27."""


def crawled(folder: Path) -> FileDataset:
    dataset = dataset_in(folder / "data")
    lines = [
        line(4, "12", "late train", second=DAY + 90_000, tags=("mare", "sole"), name="Ada"),
        line(3, "12", "early train \x1b[31mred", second=DAY + 60, tags=("mare",), name="Ada"),
        line(2, "12", "rain", second=DAY + 30, point=(45.4, 9.2), name="Ada"),
        line(1, "12", "rain <b>", second=DAY, lang="en", name="Ada"),
    ]
    store(dataset, "12", lines)
    return dataset


def settings(folder: Path, engine: str = "whoosh") -> Settings:
    return Settings(output_directory=folder / "data", index_directory=folder / "index", index_engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_page_gets_hits_counts_hashtags_and_places(engine: str, tmp_path: Path) -> None:
    rebuild(LocalLocation(tmp_path / "index", engine), crawled(tmp_path)).index.close()
    search = Search(settings(tmp_path, engine))
    found = search.search("@ada", limit=2, unit=Unit.DAY, tags=5, located=10)
    assert [post.id for post in found.answer.hits] == ["4", "3"]
    assert found.answer.total == 4
    assert found.answer.histogram == ((DAY, 3), (DAY + 86_400, 1))
    assert found.answer.hashtags == (("mare", 2), ("sole", 1))
    assert [(post.id, post.lat) for post in found.located] == [("2", 45.4)]
    assert [post.id for post in search.search("rain sort:oldest").answer.hits] == ["1", "2"]
    hours = search.search("from:2012 to:2012", unit=Unit.HOUR).answer.histogram
    assert hours == ((DAY, 3), (DAY + 90_000, 1))
    post = search.post("3")
    assert post and post.to_json()["created_at"] == "2012/08/27 00:01:00"
    whole = search.whole("3")
    assert whole and orjson.loads(whole)["user"]["screen_name"] == "Ada"
    assert search.post("9") is None and search.whole("9") is None
    with pytest.raises(UsageError):
        search.search("rain", limit=5_000)
    search.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_page_sees_what_is_committed_and_an_index_that_was_built_anew(engine: str, tmp_path: Path) -> None:
    home = LocalLocation(tmp_path / "index", engine)
    search = Search(settings(tmp_path, engine))
    with pytest.raises(IndexingError, match="start tmatic-indexer to make one"):
        search.search("rain")
    dataset = crawled(tmp_path)
    index = rebuild(home, dataset).index
    assert search.count() == 4
    index.commit({"1": None}, "mark")
    assert search.count() == 3
    index.close()
    rebuilt = rebuild(home, dataset)
    rebuilt.index.close()
    assert rebuilt.former
    home.remove(rebuilt.former)
    assert search.count() == 4


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_not_utf_8_is_asked_of_no_index(engine: str, tmp_path: Path) -> None:
    rebuild(LocalLocation(tmp_path / "index", engine), crawled(tmp_path)).index.close()
    search = Search(settings(tmp_path, engine))
    with pytest.raises(UsageError, match="not UTF-8"):
        search.search("id:\udcff")
    assert search.post("\udcff") is None and search.whole("\udcff") is None
    search.close()


def test_an_index_that_vanishes_under_a_reader_is_said_in_words(tmp_path: Path) -> None:
    rebuild(LocalLocation(tmp_path / "index", "whoosh"), crawled(tmp_path)).index.close()
    search = Search(settings(tmp_path))
    assert search.count() == 4
    for path in (tmp_path / "index").glob("whoosh-*/*"):
        path.unlink()
    for question in (search.post, search.whole, search.search):
        with pytest.raises(IndexingError, match="the index"):
            question("3")
    with pytest.raises(IndexingError, match="the index"):
        search.count()


@pytest.mark.parametrize("question", ["mark", "count", "post", "ids_of", "accounts"])
def test_whatever_whoosh_stumbles_over_is_a_torn_index(question: str, tmp_path: Path) -> None:
    home = LocalLocation(tmp_path / "index", "whoosh")
    index = rebuild(home, crawled(tmp_path)).index
    for path in index.folder.iterdir():  # type: ignore[attr-defined]
        path.unlink()
    with pytest.raises(TornError, match=r"cannot be read: \S"):
        getattr(index, question)(*(["3"] if question in ("post", "ids_of") else []))
    index.close()


def said(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.indexer.command", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_shell_rebuilds_and_asks(tmp_path: Path) -> None:
    crawled(tmp_path)
    built = said(tmp_path, "rebuild")
    assert built.returncode == 0, built.stderr
    assert built.stdout == "4 posts are in index/whoosh-000001\n"
    found = said(tmp_path, "query", "train", "early train", "#mare")
    assert found.stdout == "2012/08/27 00:01:00 @Ada 3 early train \\x1b[31mred\n"
    assert found.stderr == "1 post\n"
    as_json = orjson.loads(said(tmp_path, "query", "rain", "--json", "--limit", "1").stdout)
    assert (as_json["total"], [post["id"] for post in as_json["hits"]]) == (2, ["2"])
    assert as_json["hits"][0]["location"] == {"lat": 45.4, "lon": 9.2}
    assert "the former index is kept as index/whoosh-000001" in said(tmp_path, "rebuild").stdout
    assert "index/whoosh-000002, is deleted" in said(tmp_path, "rebuild", "--delete").stdout
    assert sorted(path.name for path in (tmp_path / "index").iterdir() if path.is_dir()) == [
        "whoosh-000001",
        "whoosh-000003",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("query", "lang:"), 2, "must be followed by a value"),
        (("query", "--index-engine", "tantivy", "id:\udcff"), 2, "not UTF-8"),
        (("query", "rain", "--elasticsearch", "http://a..b"), 2, "must be a URL"),
        (("query", "rain"), 1, "there is no index in index: start tmatic-indexer to make one"),
        (("query", "rain", "--limit", "1001"), 2, "1001"),
        (("query", "rain", "--elasticsearch", "http://127.0.0.1:9"), 1, "is away"),
        (("query", "rain", "--index-engine", "lucene"), 2, "one of whoosh, tantivy"),
        (("--index-engine", "lucene"), 2, "one of whoosh, tantivy"),
        (("rebuild",), 2, "there is no dataset in data"),
        (("nothing",), 2, "No such command"),
    ],
)
def test_the_shell_is_told_in_one_sentence(arguments: tuple[str, ...], code: int, words: str, tmp_path: Path) -> None:
    told = said(tmp_path, *arguments)
    assert told.returncode == code
    assert words in told.stderr
    assert told.stderr.count("\n") == 1
    assert "Traceback" not in told.stderr


def test_a_rebuild_is_refused_while_another_process_writes(tmp_path: Path) -> None:
    crawled(tmp_path)
    with LocalLocation(tmp_path / "index", "whoosh").lock():
        told = said(tmp_path, "rebuild")
    assert told.returncode == 1
    assert "another tmatic-indexer writes to index: end it first" in told.stderr
