"""Real carbon, real whisper: what is read back from there is what the file has, whatever dies on the way."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.stats.carbon.connection import Address
from services.stats.carbon.live import LiveDelivery
from services.stats.carbon.replay import ReplayRequest, replay
from services.stats.collecting import Collecting
from services.stats.recording.points import Oddities, Point, points_of
from services.stats.recording.recording import Recording
from storage.dataset.files.dataset import FileDataset
from tests.services.stats.carbons import Carbon
from tests.services.stats.crawls import Crawl
from tests.services.stats.test_dashboards import grafana_targets, graphite_targets
from tests.waiting import until

NewCarbon = Callable[[str], Carbon]
ENDLESS = 1 << 40


def address(carbon: Carbon, *, pickle: bool) -> Address:
    return Address("127.0.0.1", carbon.pickle if pickle else carbon.line, pickle)


@contextmanager
def collecting(path: Path, crawl: Crawl, carbon: Address) -> Iterator[tuple[Collecting, LiveDelivery]]:
    """A collector with its carbon, as the command makes it."""
    recording = Recording(path)
    live = LiveDelivery(path, recording.end, carbon)
    dataset = FileDataset(path.parent / "data")
    consumer = Collecting(recording, dataset, "main", grown=live.grown, clock=crawl.clock)
    try:
        yield consumer, live
    finally:
        consumer.flush()
        # A machine that is busy may need longer than the collector would wait at its end.
        until(lambda: not live.delivery.connected or live.delivery.place >= recording.end, 30)
        live.close()
        recording.close()


def read(path: Path) -> list[Point]:
    return list(points_of(path, Oddities()))


@pytest.mark.slow
@pytest.mark.parametrize("pickle", [False, True], ids=["plaintext", "pickle"])
def test_whisper_has_what_the_file_has_live_and_replayed(new_carbon: NewCarbon, tmp_path: Path, pickle: bool) -> None:
    live_one, later_one, moved_one = new_carbon("live"), new_carbon("later"), new_carbon("moved")
    for carbon in (live_one, later_one, moved_one):
        carbon.start()
    since = int(time.time()) - 1_800
    crawl = Crawl(now=since)
    path = tmp_path / "crawl.gz"
    with collecting(path, crawl, address(live_one, pickle=pickle)) as (consumer, live):
        until(lambda: live.delivery.connected, 15)
        for _ in range(120):
            crawl.second(consumer)
    points = read(path)
    assert len(points) > 120 * 40
    live_one.has(points, since)

    asked = ReplayRequest(path, address(later_one, pickle=pickle), float("inf"), None, 0, ENDLESS, False)
    assert replay(asked, lambda words: None).startswith(f"{len(points):,} points from")
    later_one.has(points, since)

    end = int(time.time())
    asked = ReplayRequest(path, address(moved_one, pickle=not pickle), float("inf"), end, 0, ENDLESS, False)
    replay(asked, lambda words: None)
    shift = (end - 1 - max(point.at for point in points)) // 60 * 60
    moved = [Point(point.name, point.value, point.at + shift) for point in points]
    moved_one.has(moved, since)


def killed_in_the_middle(carbon: Carbon, path: Path, *, pickle: bool, away_s: float) -> None:
    """A carbon that is killed -9 with what it has in memory, and comes back."""
    carbon.start()
    since = int(time.time()) - 1_800
    crawl = Crawl(now=since)
    with collecting(path, crawl, address(carbon, pickle=pickle)) as (consumer, live):
        until(lambda: live.delivery.connected, 10)
        for _ in range(40):
            crawl.second(consumer)
        until(lambda: live.delivery.place > 0, 10)
        carbon.kill()
        killed_at, seconds = time.monotonic(), 0
        while time.monotonic() - killed_at < away_s or live.delivery.connected:
            if seconds < 30 * (time.monotonic() - killed_at):
                crawl.second(consumer)
                seconds += 1
        assert seconds > 20
        carbon.start()
        until(lambda: live.delivery.connected, 15)
        for _ in range(40):
            crawl.second(consumer)
    carbon.has(read(path), since)


@pytest.mark.slow
@pytest.mark.parametrize("pickle", [False, True], ids=["plaintext", "pickle"])
def test_carbon_killed_for_a_while_loses_nothing(new_carbon: NewCarbon, tmp_path: Path, pickle: bool) -> None:
    killed_in_the_middle(new_carbon("carbon"), tmp_path / "crawl.gz", pickle=pickle, away_s=3)


@pytest.mark.soak
@pytest.mark.parametrize("pickle", [False, True], ids=["plaintext", "pickle"])
def test_carbon_killed_for_half_a_minute_loses_nothing(new_carbon: NewCarbon, tmp_path: Path, pickle: bool) -> None:
    killed_in_the_middle(new_carbon("carbon"), tmp_path / "crawl.gz", pickle=pickle, away_s=30)


@pytest.mark.slow
def test_what_was_recorded_while_carbon_and_we_were_away_is_sent_at_the_next_start(
    new_carbon: NewCarbon, tmp_path: Path
) -> None:
    carbon = new_carbon("carbon")
    since = int(time.time()) - 1_800
    crawl, path = Crawl(now=since), tmp_path / "crawl.gz"
    for _ in range(2):
        with collecting(path, crawl, address(carbon, pickle=False)) as (consumer, live):
            for _ in range(20):
                crawl.second(consumer)
            assert not live.delivery.connected
    carbon.start()
    with collecting(path, crawl, address(carbon, pickle=False)) as (consumer, live):
        until(lambda: live.delivery.connected, 15)
        crawl.second(consumer)
    carbon.has(read(path), since)


@pytest.mark.slow
def test_a_replay_outlives_a_carbon_that_is_killed_in_its_middle(new_carbon: NewCarbon, tmp_path: Path) -> None:
    carbon = new_carbon("carbon")
    carbon.start()
    since = int(time.time()) - 1_800
    crawl, path = Crawl(now=since), tmp_path / "crawl.gz"
    with Recording(path) as recording:
        consumer = Collecting(recording, FileDataset(tmp_path / "data"), "main", clock=crawl.clock)
        for _ in range(120):
            crawl.second(consumer)
        consumer.flush()
    killed = False

    def told(words: str) -> None:
        nonlocal killed
        if "%" in words and not words.startswith(" ") and not killed and int(words.split()[-2]) > 20:
            carbon.kill()
            carbon.start()
            killed = True

    replay(ReplayRequest(path, address(carbon, pickle=True), 80.0, None, 0, ENDLESS, False), told)
    assert killed
    carbon.has(read(path), since)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_graphite_evaluates_every_target_of_the_dashboards(
    new_carbon: NewCarbon, graphite_python: Path, tmp_path: Path
) -> None:
    carbon = new_carbon("carbon")
    carbon.start()
    since = int(time.time()) - 1_200
    crawl, path = Crawl(now=since), tmp_path / "crawl.gz"
    with collecting(path, crawl, address(carbon, pickle=False)) as (consumer, _):
        for _ in range(150):
            crawl.second(consumer)
    carbon.has(read(path), since)
    targets = json.dumps(sorted({*grafana_targets("grafana-graphite.json", "target"), *graphite_targets()}))
    command: list[str | Path] = [graphite_python, Path(__file__).parent / "carbon" / "evaluate.py", carbon.folder]
    said = subprocess.run(
        [*command, str(since - 10), str(since + 160), targets], stdout=subprocess.PIPE, check=True
    ).stdout
    found = json.loads(said)
    assert len(found) > 15
    for target, series in found.items():
        assert series, target
        assert any(value is not None for value in series.values()), target
    assert found["aliasByNode(stats.lag.*, 2)"] == {"lookup": 12.0, "stats": 0.0}
