"""Dead letters: listed, tried again from where they stood, or put away; nothing is lost or doubled by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crawl.running import COVERED, audit, crawl, emulator

pytestmark = pytest.mark.slow


def master(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "master.commands.master", *words, "--output", str(folder), "--port", "1"]
    return subprocess.run(command, capture_output=True, text=True, env=COVERED, timeout=60)


def copied(words: str, what: str) -> subprocess.CompletedProcess[str]:
    """What the last line of a crawl's log names, run as it stands there."""
    line = words.splitlines()[-1]
    (command,) = (part for part in line.split("`") if part.startswith(f"tmatic-master {what}"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(command, shell=True, capture_output=True, text=True, env=COVERED | {"PATH": path}, timeout=60)


def test_letters_of_a_service_that_failed_are_tried_again_and_end_well(tmp_path: Path) -> None:
    targets, folder = tmp_path / "targets.txt", tmp_path / "data of today"
    targets.write_text("12\n14\n")
    flags = [str(targets), "-T", "-F", "--workers", "1", "--job-tries", "1", "--retry-base-s", "0.1"]
    with emulator("--users", "100", "--seed", "3") as service:
        words = crawl(folder, *flags, "--ha", "--base-url", f"{service.url}/nothing-here", within_s=90, ends_with=4)
        said = "nothing was got: 4 jobs failed for good; the commonest reason"
        assert said in words.splitlines()[-1] and "the service answers 404" in words.splitlines()[-1]
        assert words.count(said) == 2, "both masters of the pair say the same"
        again = master(folder)
        assert again.returncode == 4 and said in again.stderr, "a crawl that is over says the same when started again"
        assert copied(words, "dead").stdout == master(folder, "dead").stdout
        letters = [json.loads(line) for line in master(folder, "dead", "--json").stdout.splitlines()]
        assert {letter["letter"] for letter in letters} == {"T:12", "T:14", "F:12", "F:14"}
        assert audit(folder)["clean"]
        assert "2 letters are put away" in master(folder, "drop", "T:14", "F:14").stdout
        assert "1 jobs wait again" in master(folder, "requeue", "T:12").stdout
        assert audit(folder)["clean"]
        words = crawl(folder, *flags, "--base-url", f"{service.url}/1.1/", within_s=90, ends_with=3)
        assert " 1 job failed for good; the reason: " in words.splitlines()[-1]
        assert "1 jobs wait again" in copied(words, "requeue").stdout
        crawl(folder, *flags, "--base-url", service.url, within_s=90)
        assert master(folder, "dead").stdout == ""
        result = audit(folder)
    assert (result["clean"], result["receipts"]) == (True, 2)


def test_updates_that_failed_are_tried_again_and_no_others(tmp_path: Path) -> None:
    targets, folder, accounts = tmp_path / "targets.txt", tmp_path / "data", ["12", "14", "16", "18", "20"]
    targets.write_text("\n".join(accounts))
    flags = ["--workers", "1", "--job-tries", "1", "--retry-base-s", "0.1"]
    with emulator("--users", "100", "--seed", "3") as service:
        crawl(folder, str(targets), "-T", *flags, "--base-url", service.url, within_s=60)
        words = crawl(folder, "-U", *flags, "--base-url", f"{service.url}/nothing-here", within_s=60, ends_with=4)
        letters = [json.loads(line)["letter"] for line in master(folder, "dead", "--json").stdout.splitlines()]
        assert "U:12" in letters and len(letters) > 2
        assert "without -U and its targets" in words.splitlines()[-1]
        assert master(folder, "drop", *(letter for letter in letters if letter != "U:12")).returncode == 0
        assert "1 jobs wait again" in copied(words, "requeue").stdout
        before = service.truth("requests")["total"]
        crawl(folder, *flags, "--base-url", service.url, within_s=60)
        assert 1 <= service.truth("requests")["total"] - before <= 2
        assert master(folder, "dead").stdout == ""
        assert audit(folder)["clean"]


def test_a_letter_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    folder, targets = tmp_path / "data", tmp_path / "targets.txt"
    targets.write_text("12\n")
    with emulator("--users", "100", "--seed", "3") as service:
        crawl(folder, str(targets), "-T", "--workers", "1", "--base-url", service.url, within_s=60)
    for words, said in (
        (["requeue", "T:12"], "there is no dead letter 'T:12'"),
        (["drop", "12"], "a letter is OPERATION:ACCOUNT"),
        (["requeue"], "say which letters to requeue"),
    ):
        done = master(folder, *words)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
