"""A commit is all there or not at all, wherever kill -9 strikes; and a torn index is found and built anew."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from services.indexer.consumer import Indexer
from services.indexer.engines.index_location import ENGINES, LocalLocation
from services.indexer.index import IndexingError, TornError
from services.indexer.posts import Document
from services.indexer.query import Query
from services.indexer.rebuild import opened
from services.subscriber.consumer import Position
from storage.dataset.files.dataset import FileDataset
from tests.checkout import ROOT
from tests.services.indexer.dying_writer import BATCH
from tests.services.indexer.written import dataset_in, done, line, on_file, store
from tests.waiting import until

TIMEOUT_S = 60.0


def dying(engine: str, folder: Path, step: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.services.indexer.dying_writer", engine, str(folder), str(step)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def whole(home: LocalLocation, told: int) -> int:
    """How many posts the index says it has, which it must hold, each once; at least what was told."""
    index = home.open()
    number = int(index.mark() or 0)
    found: list[Document] = []
    while more := index.search(Query(limit=1_000, offset=len(found))).hits:
        found += more
    index.close()
    assert sorted(int(post.id) for post in found) == list(range(1, number + 1))
    assert number >= told
    if number:
        assert next(post for post in found if post.id == "1").text == f"version {number - BATCH}"
    return number


def empty(home: LocalLocation) -> None:
    home.finish(home.begin()).close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [(*range(1, 40, 4), 90), pytest.param(tuple(range(1, 200)), marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
def test_whoosh_is_whole_at_whatever_step_its_writer_is_killed(steps: tuple[int, ...], tmp_path: Path) -> None:
    home = LocalLocation(tmp_path, "whoosh")
    empty(home)
    reached = set()
    for step in steps:
        process = dying("whoosh", tmp_path, step)
        out, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == -signal.SIGKILL
        reached.add(whole(home, int(out.split()[-1]) if out else 0))
    assert len(reached) > 2


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_is_whole_whenever_its_writer_is_killed(engine: str, tmp_path: Path) -> None:
    home = LocalLocation(tmp_path, engine)
    empty(home)
    for round_number in range(4):
        process = dying(engine, tmp_path, 0)
        assert process.stdout is not None
        told = 0
        for _ in range(2 * round_number + 1):
            told = int(process.stdout.readline())
        process.kill()
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        whole(home, int(rest.split()[-1]) if rest.split() else told)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_writer_is_refused_in_words(engine: str, tmp_path: Path) -> None:
    home = LocalLocation(tmp_path, engine)
    empty(home)
    process = dying(engine, tmp_path, 0)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(IndexingError, match="another tmatic-indexer writes to"):
        home.lock()
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    home.lock().release()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_reader_sees_the_commits_of_a_writer_in_another_process(engine: str, tmp_path: Path) -> None:
    home = LocalLocation(tmp_path, engine)
    empty(home)
    reader = home.reader()
    process = dying(engine, tmp_path, 0)
    assert process.stdout is not None
    seen = []
    for _ in range(4):
        told = int(process.stdout.readline())
        seen.append(reader.count())
        assert told <= seen[-1]
        assert reader.search(Query()).total >= told
    assert seen == sorted(seen)
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    until(lambda: reader.count() == int(reader.mark() or 0), TIMEOUT_S)
    reader.close()


# ------------------------------------------------------------------------------------------------------------ torn ones


def crawled(folder: Path) -> FileDataset:
    dataset = dataset_in(folder / "data")
    for account in ("12", "34"):
        store(dataset, account, [line(f"{account}{n:03d}", account, f"rain {n}") for n in range(40, 0, -1)])
    return dataset


def indexed(home: LocalLocation, dataset: FileDataset) -> Path:
    index = opened(home, dataset)
    indexer = Indexer(index, dataset)
    for sequence, account in enumerate(("12", "34", "12"), 1):
        lines = list(reversed([line(f"{account}{n:03d}", account, f"rain {n}") for n in range(1, 41)]))
        indexer.apply([done(sequence, account, 40, lines)], Position("ledger", "first", sequence))
    index.close()
    present = home.present()
    assert present
    return Path(present)


def held(home: LocalLocation) -> dict[str, Document]:
    reader = home.reader()
    found = {post.id: post for post in reader.search(Query(limit=1_000)).hits}
    reader.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    which=st.integers(0, 99), how=st.sampled_from(["cut", "flip", "remove", "grow", "zeros"]), at=st.floats(0, 0.999)
)
def test_a_torn_index_is_found_kept_aside_and_built_anew(
    engine: str, tmp_path_factory: pytest.TempPathFactory, which: int, how: str, at: float
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    dataset, home = crawled(folder), LocalLocation(folder / "index", engine)
    torn = indexed(home, dataset)
    sealed = sorted(json.loads((torn / "seal.json").read_bytes())["files"])
    path = torn / sealed[which % len(sealed)]
    content = path.read_bytes()
    place = int(at * len(content))
    if how == "remove":
        path.unlink()
    elif how == "flip":
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
    else:
        path.write_bytes({"cut": content[:place], "grow": content + b"x", "zeros": bytes(len(content))}[how])
    if how != "zeros" or any(content):
        with pytest.raises(TornError):
            home.open()
    index = opened(home, dataset)
    assert Indexer(index, dataset).position() == Position("ledger", "first", 3)
    index.close()
    assert held(home) == on_file(dataset)
    assert home.present() != str(torn) or not any(content)
    assert torn.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_that_lacks_any_of_its_files_is_torn(engine: str, tmp_path: Path) -> None:
    """Also one that its engine does without, to its answers' harm."""
    dataset, home = crawled(tmp_path), LocalLocation(tmp_path / "index", engine)
    torn = indexed(home, dataset)
    for name in json.loads((torn / "seal.json").read_bytes())["files"]:
        content = (torn / name).read_bytes()
        (torn / name).unlink()
        with pytest.raises(TornError):
            home.open()
        (torn / name).write_bytes(content)
    home.open().close()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lost", ["all", "table", "seal and more"])
def test_what_is_left_of_an_index_does_not_matter(engine: str, lost: str, tmp_path: Path) -> None:
    dataset, home = crawled(tmp_path), LocalLocation(tmp_path / "index", engine)
    torn = indexed(home, dataset)
    for path in list(torn.iterdir()):
        if lost == "all" or path.suffix == ".toc" or path.name == "meta.json":
            path.unlink()
        elif lost == "seal and more" and (path.name == "seal.json" or path.suffix in (".seg", ".idx")):
            path.write_bytes(path.read_bytes()[:7])
    if lost == "all":
        torn.rmdir()
    index = opened(home, dataset)
    assert (Indexer(index, dataset).position() is None) == (lost != "table")
    index.close()
    assert held(home) == on_file(dataset)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rebuild_that_was_cut_off_leaves_the_index_and_goes_with_the_next(engine: str, tmp_path: Path) -> None:
    dataset, home = crawled(tmp_path), LocalLocation(tmp_path / "index", engine)
    present = indexed(home, dataset)
    cut = home.begin()
    cut.commit({}, "half")
    cut.close()
    assert home.present() == str(present)
    assert held(home) == on_file(dataset)
    empty(home)
    assert sorted(path.name for path in (tmp_path / "index").iterdir() if path.is_dir()) == [
        f"{engine}-000001",
        f"{engine}-000003",
    ]
