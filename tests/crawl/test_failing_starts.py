"""A start that fails, at whichever step and by whatever, leaves no process behind."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.crawl.failing_start import belonging, command, ended, started
from tests.waiting import until

SHORT, LONG = 5, 100
WITHIN_S = 60.0
WORLD = ["--emulator-options", "--users 40 --seed 7"]
CRAWL = [command("tmatic-crawl"), "targets.txt", "-T", "--output", "data", "--port", "0", "--workers", "1"]
EMULATED = [*CRAWL, "--emulator", *WORLD]
STARTS = {
    "master": ([command("tmatic-master"), "-T", "--stream", "targets.txt", "--output", "data", "--port", "0"],),
    "crawl": (EMULATED, [*EMULATED, "--follow-rule", "len(lang) > 0"]),
    "pair": ([*EMULATED, "--ha"],),
    "rehearse": (
        [command("tmatic-rehearse"), "--kill", "worker:1@0.1s", "--output", "drill", "--workers", "1", *WORLD],
    ),
    "worker": ([command("tmatic-worker"), "w1", "--output", "data", "--base-url", "http://127.0.0.1:1"],),
}
ROLES = {
    "master": ("master.commands.master",),
    "crawl": ("master.commands.crawl", "master.commands.master", "worker.command", "services.emulator.command"),
    "pair": ("master.commands.crawl", "master.commands.master"),
    "rehearse": ("master.commands.rehearse",),
    "worker": ("worker.command",),
}
UP = {kind: "looks for its master" if kind == "worker" else "took the lead" for kind in STARTS}
"""What is said when a start is over."""
HOWS = ("raise", "raise", "SIGTERM", "SIGINT", "SIGHUP")


def steps_of(kind: str, words: list[str], role: str, folder: Path) -> int:
    """How many steps a start has, by one that does not fail."""
    folder.mkdir()
    process = started(words, folder, role, 0, "count")
    said = folder / ("drill/rehearsal.log" if kind == "rehearse" else "said")
    try:
        until(lambda: UP[kind] in said.read_text(errors="replace"), WITHIN_S, expecting=FileNotFoundError)
        return (folder / "steps").read_text().count("\n")
    finally:
        process.send_signal(signal.SIGTERM)
        outcome = ended(process, folder)
        assert not outcome.left, outcome


def fail(count: int, seed: int, folder: Path) -> None:
    chance = random.Random(seed)
    steps: dict[tuple[str, int, str], int] = {}
    for number in range(count):
        kind = chance.choice([*STARTS])
        which = chance.randrange(len(STARTS[kind]))
        role, how, words = chance.choice(ROLES[kind]), chance.choice(HOWS), STARTS[kind][which]
        if (kind, which, role) not in steps:
            steps[kind, which, role] = steps_of(kind, words, role, folder / f"steps-{number}")
        step, place = chance.randint(1, steps[kind, which, role]), folder / str(number)
        place.mkdir()
        outcome = ended(started(words, place, role, step, how), place)
        print(f"{number}: {kind}, {role}, {how} at step {step}: {outcome.failed_at.strip()}, exit {outcome.code}")
        assert not outcome.left, f"{number}: {kind} {role} {how} at {step}: {outcome}"
        assert outcome.code != -signal.SIGKILL, f"{number}: it did not end: {outcome}"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_process_is_left_after_a_start_that_failed_at_random(tmp_path: Path) -> None:
    fail(SHORT, int(os.environ.get("FAILING_SEED", "1")), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_no_process_is_left_after_a_hundred_starts_that_failed_at_random(tmp_path: Path) -> None:
    fail(LONG, int(os.environ.get("FAILING_SEED", "2")), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["startup/open_crawl.py", "leadership/takeover.py", "master/process.py"])
def test_a_master_that_fails_behind_the_start_of_its_server_ends_it(place: str, tmp_path: Path) -> None:
    """Each file's last step: one between the server's start and the ledger's opening among them."""
    (words,) = STARTS["master"]
    count = steps_of("master", words, "master.commands.master", tmp_path / "steps")
    lines = (tmp_path / "steps" / "steps").read_text().splitlines()[:count]
    step = [line for line in lines if place in line][-1]
    assert not belonging(tmp_path / "steps")
    (tmp_path / "failing").mkdir()
    outcome = ended(started(words, tmp_path / "failing", "master.commands.master", step, "raise"), tmp_path / "failing")
    assert place in outcome.failed_at and outcome.code == 1, outcome
    assert not outcome.left


@pytest.mark.slow
def test_a_folder_that_is_not_utf8_is_crawled_in_or_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"not-\xff-utf-8")
    folder.mkdir()
    process = started(STARTS["master"][0], folder, "nothing", 0, "count")
    until(lambda: "took the lead" in (folder / "said").read_text(), WITHIN_S)
    process.kill()
    process.wait()
    # The next one adopts the server.
    (folder / "again").mkdir()
    process = started([*STARTS["master"][0], "--output", "../data"], folder / "again", "nothing", 0, "count")
    until(lambda: "took the lead" in (folder / "again/said").read_text(), WITHIN_S)
    assert "adopted" in (folder / "again/said").read_text()
    process.send_signal(signal.SIGTERM)
    assert (process.wait(WITHIN_S), belonging(folder)) == (143, {})
    for number, kind in enumerate(("crawl", "rehearse")):
        place = tmp_path / str(number)
        place.mkdir()
        words = [*STARTS[kind][0], "--output", os.fsdecode(b"\xff")]
        outcome = ended(started(words, place, "nothing", 0, "count"), place)
        assert outcome.code in (0, 2) and "Traceback" not in outcome.said and not outcome.left, outcome
        assert outcome.code == 0 or not (place / os.fsdecode(b"\xff")).exists()
