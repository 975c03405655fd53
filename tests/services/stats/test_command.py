"""`tmatic-stats` as people call it."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from protocol.errors import UsageError
from protocol.settings.configuration import configured
from services.http import Server
from services.stats.carbon.sent import Sent
from services.stats.collecting import Collecting
from services.stats.command import collecting, commands
from services.stats.metrics import digest
from services.stats.recording.recording import Recording
from services.stats.scrape import metrics_page
from services.stats.times import clock_time, speed, unix_time
from storage.dataset.files.dataset import FileDataset
from tests.services.stats.crawls import Crawl
from tests.services.stats.test_carbon import Ear, ear  # noqa: F401 - a fixture

NOW = 1_790_000_000
TIMEOUT_S = 60


def recorded(path: Path, seconds: int) -> Path:
    crawl = Crawl(now=NOW)
    with Recording(path) as recording:
        consumer = Collecting(recording, FileDataset(path.parent / "data"), "main", clock=crawl.clock)
        for second in range(seconds):
            if second in (0, 30):
                consumer.apply([crawl.event("master.leads", ["m", second, "why"])], crawl.position())
            crawl.second(consumer)
        consumer.flush()
    return path


def said(*words: object) -> str:
    """What a command answers."""
    result = CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    """Why a command refuses."""
    with pytest.raises(UsageError) as error:
        CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False, standalone_mode=False)
    return str(error.value)


def test_a_replay_is_not_sent_twice_to_one_carbon(ear: Ear, tmp_path: Path) -> None:  # noqa: F811
    path = recorded(tmp_path / "crawl.gz", 20)
    whole = gzip.decompress(path.read_bytes())
    words = ("replay", path, "--carbon", ear.address)
    assert re.match(r"[0-9,]+ points from .* were sent to 127.0.0.1:\d+\n", said(*words))
    assert ear.heard == [whole]
    assert "--again sends it again" in refused(*words)
    assert "was sent to" in refused(*words, "--from", NOW + 5, "--to", NOW + 6)
    said(*words, "--again")
    assert ear.heard == [whole, whole]
    other = Ear()
    said("replay", path, "--carbon", other.address)
    other.close()


def test_a_part_that_was_sent_is_refused_and_the_rest_offered(ear: Ear, tmp_path: Path) -> None:  # noqa: F811
    path = recorded(tmp_path / "crawl.gz", 20)
    words = ("replay", path, "--carbon", ear.address)
    said(*words, "--to", NOW + 10)
    rest = re.search(r"--from (\S+) sends what comes after", refused(*words))
    assert rest
    said(*words, "--from", rest[1])
    assert sorted(b"".join(ear.heard).splitlines()) == sorted(gzip.decompress(path.read_bytes()).splitlines())


def test_another_recording_under_the_same_name_is_another_one(ear: Ear, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "crawl.gz"
    for value in (1, 2):
        path.write_bytes(gzip.compress(b"a.b %d %d\n" % (value, NOW)))
        said("replay", path, "--carbon", ear.address)
    assert len(ear.heard) == 2


def test_a_recording_is_moved_to_now_and_keeps_its_minutes(ear: Ear, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "original.gz"
    path.write_bytes(gzip.compress(b"a 1 %d\nb 2.5 %d\nno point\n" % (NOW, NOW + 90)))
    answer = said("replay", path, "--carbon", ear.address, "--shift-to", "now")
    assert "moved to" in answer
    assert "1 lines that are no points" in answer
    (_, value, first), (_, _, last) = (line.split() for line in ear.heard[0].splitlines())
    assert (value, int(last) - int(first), (int(first) - NOW) % 60) == (b"1", 90, 0)
    assert time.time() - 125 < int(last) <= time.time()


@pytest.mark.slow
def test_a_replay_goes_as_fast_as_it_is_told(ear: Ear, tmp_path: Path) -> None:  # noqa: F811
    path = recorded(tmp_path / "crawl.gz", 60)
    begun = time.monotonic()
    said("replay", path, "--carbon", ear.address, "--speed", "60x")
    assert 0.9 < time.monotonic() - begun < 20
    assert sorted(ear.heard[0].splitlines()) == sorted(gzip.decompress(path.read_bytes()).splitlines())


def test_progress_is_for_terminals_only(ear: Ear, tmp_path: Path) -> None:  # noqa: F811
    path = recorded(tmp_path / "crawl.gz", 5)
    command = [sys.executable, "-m", "services.stats.command", "replay", str(path), "--carbon", str(ear.address)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\r" not in done.stdout
    again = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--carbon", "x:y"), "--carbon must be HOST:PORT"),
        (("--carbon", "x:99999"), "--carbon must be HOST:PORT"),
        (("--carbon", "x\udcff:2003"), "--carbon must be HOST:PORT"),
        ((), "where is carbon?"),
        (("--carbon", "x:1", "--speed", "fast"), "--speed must be max"),
        (("--carbon", "x:1", "--speed", "0x"), "--speed must be max"),
        (("--carbon", "x:1", "--from", "noon"), "--from must be a time like"),
        (("--carbon", "x:1", "--to", "5"), "has no points in that time"),
    ],
)
def test_what_is_asked_wrongly_is_refused_in_words(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    assert why in refused("replay", recorded(tmp_path / "crawl.gz", 2), *words)


def test_times_and_speeds_as_people_write_them() -> None:
    assert unix_time("now", "--to", 12.9) == 12
    assert unix_time("1790000000", "--to", 0) == NOW
    assert unix_time("2026-09-21T12:13:20+00:00", "--to", 0) == 1_789_992_800
    assert unix_time(clock_time(NOW), "--to", 0) == NOW
    assert unix_time("2026-09-21", "--to", 0) == datetime(2026, 9, 21).timestamp()
    assert (speed("60x"), speed("0.5"), speed("max")) == (60.0, 0.5, float("inf"))


@pytest.mark.slow
def test_a_chart_is_drawn_as_svg_and_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = recorded(tmp_path / "crawl.gz", 90)
    assert "90 s of crawl.gz" in said("plot", path, "-o", tmp_path / "crawl.svg", "--title", "a <crawl> & $more$")
    tree = ElementTree.parse(tmp_path / "crawl.svg")
    words = " ".join("".join(element.itertext()) for element in tree.iter())
    for word in ("a <crawl> & $more$", "pages a second", "jobs that wait", "timeline", "the lead was taken anew"):
        assert word in words
    first = (tmp_path / "crawl.svg").read_bytes()
    said("plot", path, "-o", tmp_path / "crawl.svg", "--title", "a <crawl> & $more$")
    assert (tmp_path / "crawl.svg").read_bytes() == first
    said("plot", path, "-o", tmp_path / "crawl.png", "--from", NOW + 30)
    assert (tmp_path / "crawl.png").read_bytes().startswith(b"\x89PNG")
    # A recording of the original has no pages and no frontier.
    lines = (f"timeline.total_fetched {n * 200} {NOW + n}\n" for n in range(50))
    (tmp_path / "original.gz").write_bytes(gzip.compress("".join(lines).encode()))
    said("plot", tmp_path / "original.gz", "-o", tmp_path / "original.svg")
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.slow
def test_a_file_whose_name_is_no_text_is_drawn_as_well(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = recorded(tmp_path / "crawl.gz", 5)
    path = path.rename(tmp_path / os.fsdecode(b"\xff\x01.gz"))
    assert "5 s of ??.gz" in said("plot", path, "-o", tmp_path / "crawl.svg")
    words = (element.text for element in ElementTree.parse(tmp_path / "crawl.svg").iter())
    assert "??.gz" in words


def test_a_chart_of_nothing_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = recorded(tmp_path / "crawl.gz", 2)
    for title in ("\udcff", "\x01"):
        assert "--title must be text" in refused("plot", path, "-o", tmp_path / "crawl.svg", "--title", title)
    assert "must end with .svg or .png" in refused("plot", path, "-o", tmp_path / "crawl.gif")
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b"a.b 1 1790000000\n"))
    assert "has no points in that time" in refused("plot", tmp_path / "empty.gz", "-o", tmp_path / "x.svg")


def test_prometheus_is_told_the_same_numbers(tmp_path: Path) -> None:
    odd = 'w"1\n\ud800'
    crawl = Crawl(now=NOW)
    with Recording(tmp_path / "crawl.gz") as recording:
        consumer = Collecting(recording, FileDataset(tmp_path / "data"), "main", clock=crawl.clock)
        server = Server(metrics_page(consumer.now))
        import threading

        ready = threading.Event()

        def run() -> None:
            server.open()
            ready.set()
            server.run()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert ready.wait(10)
        for _ in range(5):
            crawl.second(consumer)
        consumer.apply([crawl.result("T", "1", 50, odd)], crawl.position())
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        server.stop()
        thread.join()
        latest = {sample.name: sample.value for sample in consumer.now()}
    found = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for (name, labels), value in {
        ("tmatic_records_fetched_total", ("timeline",)): latest["timeline.total_fetched"],
        ("tmatic_jobs_waiting", ("follower",)): latest["stats.frontier.waiting.follower"],
        ("tmatic_budget_resets_in_seconds", ("twitter|10.0.0.1|statuses/user_timeline",)): 33.3,
        ("tmatic_rate", ("records",)): 1234.1,
        ("tmatic_takeovers_total", ()): 0,
        ("tmatic_lag_events", ("lookup",)): 12,
        ("tmatic_worker_records_total", ("timeline", f"{odd.encode(errors='replace').decode()}~{digest(odd)}")): 50,
    }.items():
        assert found[name, labels] == value


def test_a_collector_begins_where_it_stopped_and_closes_what_it_opened(ear: Ear, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "crawl.gz"
    flags = {
        "carbon_server": "127.0.0.1",
        "carbon_port": str(ear.address.port),
        "output_directory": str(tmp_path / "data"),
    }
    settings = configured(flags, environment={})
    for number in (1, 2):
        with collecting(path, settings) as consumer:
            crawl = Crawl(now=NOW, sequence=10 * number)
            assert consumer.position() == (None if number == 1 else Crawl(now=0, sequence=11).position())
            consumer.apply([crawl.result("T", str(number), 7)], crawl.position())
    lines = gzip.decompress(path.read_bytes())
    assert lines.count(b"stats.ops.timeline.worker-001 7 ") == 2
    # The first one is sent again, since it was not old enough to be sure that carbon had written it.
    assert ear.heard[-1].endswith(lines)
    assert Sent(path, str(ear.address)).place() == 0


def test_help_is_there_for_every_command() -> None:
    for name, command in commands.commands.items():
        assert isinstance(command, click.Command)
        assert said(name, "--help").startswith("Usage:")
