"""A crawl that a signal cut short says so by its exit code, and one that somebody else stopped a part of goes on."""

from __future__ import annotations

import ctypes
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.stopping import cut_short, listening, stop_signals, uncut
from tests.crawl.running import COVERED, Emulator, audit, children, crawling, emulator, server_of
from tests.waiting import until

pytestmark = pytest.mark.slow

WITHIN_S = 100
PR_SET_CHILD_SUBREAPER = 36
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with emulator("--users", "60", "--seed", "7") as running:
        yield running


@pytest.fixture
def targets(tmp_path: Path) -> str:
    (tmp_path / "targets.txt").write_text("12\n")
    return str(tmp_path / "targets.txt")


def master(tmp_path: Path, *options: str) -> subprocess.Popen[bytes]:
    """A master alone, once it leads."""
    log = tmp_path / "master.log"
    command = [sys.executable, "-m", "master.commands.master", "--output", str(tmp_path / "data")]
    command += ["--port", "0", *options]
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stderr=words, env=COVERED, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        )
    until(lambda: "took the lead" in log.read_text(), WITHIN_S)
    return process


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_master_that_is_told_to_stop_before_all_is_done_says_by_what(
    number: int, code: int, tmp_path: Path, targets: str
) -> None:
    process = master(tmp_path, "-T", "--stream", targets)
    process.send_signal(number)
    assert process.wait(30) == code
    assert server_of(tmp_path / "data") is None


def test_a_master_that_was_started_by_nohup_outlives_its_terminal(tmp_path: Path, targets: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = master(tmp_path, "-T", "--stream", targets)
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    # Heard in this order: had it stopped for the first, its code would be another.
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert server_of(tmp_path / "data") is None


def test_a_terminal_that_closes_ends_a_master_and_its_server(tmp_path: Path, targets: str) -> None:
    number, terminal = pty.fork()
    if number == 0:
        words = ["-m", "master.commands.master", "-T", "--stream", targets, "--output", str(tmp_path / "data")]
        words += ["--port", "0"]
        os.execve(sys.executable, [sys.executable, *words], COVERED)
    said = b""

    def leads() -> bool:
        nonlocal said
        said += os.read(terminal, 4096)
        return b"took the lead" in said

    until(leads, WITHIN_S)
    assert server_of(tmp_path / "data") is not None
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 129
    assert server_of(tmp_path / "data") is None


def test_a_second_hangup_hastens_nothing() -> None:
    came: list[int] = []
    with listening(came.append):
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(os.getpid(), number)
    assert came == [signal.SIGHUP, signal.SIGINT]


@pytest.mark.parametrize("further", [[], [signal.SIGINT]], ids=["two", "three"])
def test_a_hangup_and_another_signal_that_come_at_once_are_one(further: list[int]) -> None:
    came: list[int] = []
    with listening(came.append):
        signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
        try:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.pthread_kill(threading.get_ident(), number)  # of this thread: another would hear them at once
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals())
        for one in further:
            os.kill(os.getpid(), one)
    assert came == [signal.SIGHUP, *further]


def test_a_signal_waits_until_what_must_not_be_cut_is_done() -> None:
    done = False
    with cut_short(), pytest.raises(SystemExit) as left, uncut():
        os.kill(os.getpid(), signal.SIGTERM)
        done = True
    assert done and left.value.code == 143


def test_what_must_not_be_cut_in_another_thread_holds_no_signal_back_and_gets_none() -> None:
    reached, go, ended = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        with uncut():
            reached.set()
            assert go.wait(WITHIN_S)
        ended.append("well")

    thread = threading.Thread(target=work)
    with cut_short():
        thread.start()
        assert reached.wait(WITHIN_S)
        try:
            with pytest.raises(SystemExit) as left:
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            go.set()
            thread.join(WITHIN_S)
    assert ended == ["well"] and left.value.code == 143


def test_a_master_that_stays_after_all_is_done_ends_well(tmp_path: Path, targets: str, service: Emulator) -> None:
    with crawling(tmp_path / "data", targets, "-F", "--base-url", service.url) as process:
        assert process.wait(WITHIN_S) == 0
    staying = master(tmp_path, "--stay")
    until(lambda: "staying until told" in (tmp_path / "master.log").read_text(), WITHIN_S)
    staying.send_signal(signal.SIGTERM)
    assert staying.wait(30) == 0


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_crawl_says_which_signal_cut_it_short(
    number: int, code: int, tmp_path: Path, targets: str, service: Emulator
) -> None:
    folder = tmp_path / "data"
    with crawling(folder, targets, "-T", "-F", "-A", "--traversing", "BFS", "--base-url", service.url) as process:
        until(lambda: list(folder.glob("*/*.twt")), WITHIN_S)
        process.send_signal(number)
        assert process.wait(30) == code


@pytest.mark.parametrize("masters", [[], ["--ha"]], ids=["one", "pair"])
def test_masters_that_somebody_stops_are_started_again(
    masters: list[str], tmp_path: Path, targets: str, service: Emulator
) -> None:
    folder = tmp_path / "data"
    options = ["-T", "-F", "-A", "--traversing", "BFS", "--concurrency", "1", "--base-url", service.url, *masters]
    with crawling(folder, targets, *options, "--workers", "1") as process:
        until(lambda: list(folder.glob("*/*.twt")), WITHIN_S)
        stopped = children(process)["master"]
        assert len(stopped) == 1 + len(masters)
        # One that is still coming in would be killed by the signal, and told so.
        until(lambda: folder.with_suffix(".log").read_text().count("listening address=") >= len(stopped), WITHIN_S)
        for number in stopped:
            os.kill(number, signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    assert folder.with_suffix(".log").read_text().count("exit code 143 and is started again") == len(stopped)
    result = audit(folder)
    assert result["clean"] and result["live"] == 0


def test_an_emulator_that_somebody_stops_is_started_again(tmp_path: Path, targets: str) -> None:
    folder = tmp_path / "data"
    options = ["-T", "-F", "-A", "--traversing", "BFS", "--concurrency", "1", "--workers", "1", "--emulator"]
    with crawling(folder, targets, *options, "--emulator-options", "--users 60 --seed 7") as process:
        until(lambda: list(folder.glob("*/*.twt")), WITHIN_S)
        (running,) = children(process)["emulator"]
        os.kill(running, signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    assert "the emulator ended with exit code" in folder.with_suffix(".log").read_text()
    result = audit(folder)
    assert result["clean"] and (result["live"], result["dead"]) == (0, 0)


def test_the_server_of_a_killed_master_is_no_zombie_where_a_crawl_is_the_first_process(
    tmp_path: Path, targets: str
) -> None:
    folder = tmp_path / "data"
    words = ["-T", "-F", "-A", "--traversing", "BFS", "--concurrency", "1", "--workers", "1", "--emulator"]
    command = [sys.executable, "-m", "master.commands.crawl", targets, "--output", str(folder), "--port", "0", *words]

    def first() -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)

    with (tmp_path / "data.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=COVERED, preexec_fn=first)
    try:
        until(lambda: list(folder.glob("*/*.twt")), WITHIN_S)
        server, (leads,) = server_of(folder), children(process)["master"]
        assert server is not None
        os.kill(leads, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{server}").exists(), WITHIN_S)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WITHIN_S)
