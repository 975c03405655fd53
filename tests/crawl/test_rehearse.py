"""A fire drill as a user holds it: real processes, signals and cut links, and what is told of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.crawl.running import COVERED

WITHIN_S = 240
MISHAPS = ["kill master", "stop worker:3", "cut redis", "cut peer"]
PLAN = ["--kill", "master@3s", "--stop", "worker:3@6s:2s", "--cut", "redis@9s:3s", "--cut", "peer@14s:2s"]


def rehearse(folder: Path, *words: str, **surroundings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "master.commands.rehearse", *words],
        cwd=folder,
        env={**COVERED, **surroundings},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )


@pytest.mark.slow
@pytest.mark.timeout(WITHIN_S)
def test_a_drill_of_four_mishaps_ends_clean_and_draws_each(tmp_path: Path) -> None:
    # What a user has set for the real service must not be met by the drill.
    settings = 'base_url = "https://api.example.org"\noutput_directory = "precious"\nconcurrency = 4\nport = 1\n'
    (tmp_path / "tmatic.toml").write_text(settings)
    drill = rehearse(tmp_path, *PLAN, "--length", "20s", "--output", "drill", "--json", TMATIC_BEARER_TOKEN="secret")
    said = (tmp_path / "drill" / "rehearsal.log").read_text()
    assert drill.returncode == 0, drill.stdout[-3000:] + drill.stderr[-3000:] + said[-3000:]
    report: dict[str, Any] = json.loads(drill.stdout)
    assert report["clean"] and report["well"] and not report["missed"]
    assert report["audit"]["clean"] and report["audit"]["accounts"] > 1
    assert [one["what"] for one in report["mishaps"]] == MISHAPS
    assert [one["at_s"] for one in report["mishaps"]] == pytest.approx([3, 6, 9, 14], abs=1.5)
    # Its victim led, and the other one went on; while nobody reached the ledger nobody led.
    target = int(report["mishaps"][0]["whom"].split()[-1])
    leaders = [band["leader"] for band in report["led"]]
    assert report["lead_changes"] >= 1 and {target, 1 - target} <= set(leaders) and None in leaders
    assert report["mishaps"][2]["held_up_s"] >= 2.5
    assert report["jobs"] > 0 and report["pages_again"] <= report["pages_allowed"]
    svg = (tmp_path / report["picture"]).read_text()
    words = " ".join(ElementTree.fromstring(svg).itertext())
    assert all(fault in words for fault in MISHAPS) and "clean" in words
    assert "href" not in svg and "<script" not in svg
    assert not (tmp_path / "precious").exists()
    assert all(fault in drill.stderr for fault in MISHAPS)


@pytest.mark.slow
@pytest.mark.timeout(WITHIN_S)
def test_a_mishap_that_never_came_is_told_and_is_no_success(tmp_path: Path) -> None:
    plan = ["--single", "--kill", "worker:1@0.1s", "--kill", "worker:2@200s", "--workers", "2"]
    world = "--users 150 --seed 7 --faults slow=1,slow_s=0.05"
    drill = rehearse(tmp_path, *plan, "--emulator-options", world, "--output", "drill")
    assert drill.returncode == 1, drill.stdout + drill.stderr
    assert "never came, since the crawl was over before: kill worker:2 at 200 s" in drill.stdout
    assert "The audit is clean" in drill.stdout and "kill worker:1" in drill.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing is to go wrong"),
        (["--kill", "janitor@3s"], "there is no 'janitor' to kill"),
        (["--kill", "master@90s", "--length", "60s"], "the drill is over at 60 s"),
        (["--cut", "peer@3s", "--single"], "has no peer"),
        (["--random", "60s", "--kill", "master@3s"], "--random chooses the mishaps"),
        (["--kill", "master@3s", "--seed", "1"], "--seed is what --random is drawn from"),
        (["--kill", "redis@3s", "--redis", "redis://127.0.0.1:1"], "that server is your own"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_before_anything_is_done(
    words: list[str], says: str, tmp_path: Path
) -> None:
    drill = rehearse(tmp_path, *words)
    assert drill.returncode == 2 and says in drill.stderr and drill.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    drill = rehearse(tmp_path, "--kill", "master@3s", "--output", "data")
    assert drill.returncode == 2 and "data is not empty" in drill.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "precious"]
