"""`tmatic-crawl --emulator`: what it leaves out of the settings, and Ctrl-C while its emulator comes up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from master.commands.crawl import for_emulator
from master.crawl.crawl import Crawl, CrawlRequest
from protocol.settings.configuration import configured
from tests.crawl.running import COVERED
from tests.waiting import until

CRAWL = [sys.executable, "-m", "master.commands.crawl", "targets.txt", "-T", "--output", "data", "--port", "0"]
WITHIN_S = 60


def test_an_emulator_is_sent_no_token_that_is_meant_for_another_service(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("real-secret\n")
    (tmp_path / "tmatic.toml").write_text(
        f'base_url = "https://service.example"\nbearer_token_file = "{tmp_path}/token"\n'
        'proxy = ["http://me:real-secret@p:1"]\nca_file = ["ca.pem"]\n'
    )
    settings = for_emulator(configured(config=tmp_path / "tmatic.toml", environment={}))
    crawl = Crawl(settings, CrawlRequest(None, (), None, False, 1, [], False), base_url="http://127.0.0.1:1")
    worker = crawl.kept("worker 1", list, lambda: crawl.worker_settings(1)).environment()
    assert worker["TMATIC_BASE_URL"] == "http://127.0.0.1:1"
    assert "TMATIC_BEARER_TOKEN" not in worker and worker["TMATIC_BEARER_TOKEN_FILE"] == ""
    assert "TMATIC_PROXY" not in worker and worker["TMATIC_CA_FILE"] == "", "no proxy leads to this machine"
    assert "real-secret" not in str(worker)


@pytest.mark.slow
def test_the_emulator_of_the_command_line_comes_before_the_service_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "targets.txt").write_text("12\n")
    (tmp_path / "tmatic.toml").write_text('base_url = "http://127.0.0.1:1"\nbearer_token = "real-secret"\n')
    words = [*CRAWL, "--emulator", "--emulator-options", "--users 20 --seed 7"]
    done = subprocess.run(words, cwd=tmp_path, env=COVERED, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/12/12.twt").exists()
    done = subprocess.run(
        [*words, "--base-url", "http://127.0.0.1:1"], cwd=tmp_path, env=COVERED, capture_output=True, text=True
    )
    assert done.returncode == 2 and "exclude each other" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["crawl", "rehearse"])
def test_a_signal_while_the_emulator_comes_up_is_no_failure(
    command: str, number: int, code: int, tmp_path: Path
) -> None:
    (tmp_path / "targets.txt").write_text("12\n")
    # An emulator that comes up and never listens, since its world is a pipe that nobody writes.
    os.mkfifo(tmp_path / "world.tsv")
    world = ["--emulator-options", "--graph world.tsv"]
    words = [*CRAWL, "--emulator", *world]
    if command == "rehearse":
        words = [sys.executable, "-m", "master.commands.rehearse", "--kill", "master@1s", "--output", "drill", *world]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        env=COVERED,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # A pipe cannot be opened for writing before somebody reads it.
    opened = until(lambda: os.open(tmp_path / "world.tsv", os.O_WRONLY | os.O_NONBLOCK), WITHIN_S, expecting=OSError)
    process.send_signal(number)
    _, told = process.communicate(timeout=WITHIN_S)
    os.close(opened)
    assert process.returncode == code, told
    assert "does not listen" not in told and "Traceback" not in told
    if command == "rehearse":
        assert told.splitlines()[-1] == "tmatic-rehearse: cut short: nothing was audited, and drill stays as it is"
