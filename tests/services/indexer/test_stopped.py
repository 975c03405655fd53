"""A signal to stop ends the building of an index at once, at any point, and the next start makes it whole."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from protocol.stopping import SIGNALLED
from services.indexer.command import StopSignal
from services.indexer.engines.index_location import ENGINES, ElasticLocation, IndexLocation, LocalLocation
from services.indexer.query import Query
from services.indexer.rebuild import opened
from storage.dataset.files.dataset import FileDataset
from tests.checkout import ROOT
from tests.services.indexer.opensearch import OpenSearch
from tests.services.indexer.written import dataset_in, line, on_file, store
from tests.storage.ledger.servers import environment

STOPPED_WITHIN_S = 30.0
"""On a busy machine; it takes half a second, and the work that is stopped never ends by itself."""

CASES = ("first", "rebuild", "resynchronise")


def crawled(folder: Path) -> FileDataset:
    dataset = dataset_in(folder / "data")
    for account in ("12", "34", "56"):
        store(dataset, account, [line(f"{account}{n:04d}", account, f"rain {n}") for n in range(700, 0, -1)])
    return dataset


def check(home: IndexLocation, folder: Path, case: str, number: signal.Signals, *more: str) -> None:
    dataset = crawled(folder)
    if case != "first":
        opened(home, dataset).close()
    where = ["--output", str(folder / "data"), "--index-directory", str(folder / "index"), *more]
    command = [sys.executable, "-m", "tests.services.indexer.endless_builder", case, *where]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(folder), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "once more\n"
    begun = time.monotonic()
    process.send_signal(number)
    try:
        process.communicate(timeout=STOPPED_WITHIN_S)
    finally:
        process.kill()
        process.communicate()
    assert time.monotonic() - begun < STOPPED_WITHIN_S
    assert process.returncode == SIGNALLED + number
    index = opened(home, dataset)
    if case == "resynchronise":  # the position says that it is to be done again; what is there is whole all the same
        assert '"position":null' in (index.mark() or "")
    assert index.count() == len(on_file(dataset))  # also lets a server find at once what was committed
    found = {
        post.id: post for at in range(0, 3_000, 1_000) for post in index.search(Query(limit=1_000, offset=at)).hits
    }
    index.close()
    assert found == on_file(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_ends_the_building_of_an_index_at_once(engine: str, case: str, tmp_path: Path) -> None:
    home = LocalLocation(tmp_path / "index", engine)
    check(home, tmp_path, case, signal.SIGTERM, "--index-engine", engine)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_signal_ends_the_building_of_an_index_on_a_search_server(
    search_server: OpenSearch, case: str, tmp_path: Path
) -> None:
    home = ElasticLocation(search_server.url, "main", tmp_path / "locks")
    check(home, tmp_path, case, signal.SIGTERM, "--elasticsearch", search_server.url)


@pytest.mark.parametrize(("number", "left"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_who_rests_while_the_server_is_away_leaves_as_by_the_signal(
    number: signal.Signals, left: type[BaseException]
) -> None:
    stop = StopSignal()
    stop.hear(number)  # what is under way comes to its end
    with pytest.raises(left) as told:
        stop.rest(60)
    assert number == signal.SIGINT or told.value.args == (SIGNALLED + number,)


def test_a_second_signal_and_the_first_while_an_index_is_built_are_obeyed_at_once() -> None:
    stop = StopSignal()
    stop.hear(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        stop.hear(signal.SIGINT)
    building = StopSignal()
    with pytest.raises(SystemExit), building.at_once():
        building.hear(signal.SIGTERM)


def test_what_lasts_long_is_not_begun_after_a_signal() -> None:
    stop = StopSignal()
    stop.hear(signal.SIGTERM)
    with pytest.raises(SystemExit), stop.at_once():
        pytest.fail("it was begun")


def test_a_signal_is_obeyed_at_once_after_a_rest_within_what_lasts_long() -> None:
    stop = StopSignal()
    with pytest.raises(SystemExit), stop.at_once():
        stop.rest(0.0)
        stop.hear(signal.SIGTERM)
    stop = StopSignal()
    stop.hear(signal.SIGTERM)  # what is under way comes to its end
    assert stop.told.is_set()
