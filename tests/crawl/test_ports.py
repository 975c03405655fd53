"""Crawls that begin at the same moment do not take each other's ports, and a port that is lost is no end of a crawl."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from master.crawl import crawl as crawl_module
from master.crawl.crawl import Crawl, CrawlRequest
from master.crawl.ports import Ports, is_taken, listens, take
from protocol.settings.settings import Settings
from tests.crawl.running import children, crawling
from tests.ports import free_port
from tests.waiting import until

HERE = "127.0.0.1"
WITHIN_S = 100
WORLD = ["--emulator", "--emulator-options", "--users 40 --seed 7", "--workers", "1"]


@contextlib.contextmanager
def thief(port: int) -> Iterator[socket.socket]:
    """A server that shares addresses, as most do, and so may listen where somebody is bound only."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HERE, port))
        taken.listen()
        yield taken


def test_of_two_that_want_a_port_at_once_one_takes_another() -> None:
    wanted = free_port()
    first, second = take(HERE, wanted, 2), take(HERE, wanted, 2)
    assert first.first == wanted and not {first.first, first.first + 1} & {second.first, second.first + 1}
    first.release()
    assert take(HERE, wanted, 2).first == wanted


def test_a_port_that_is_kept_can_be_listened_on_by_a_child_and_not_be_had_by_a_stranger() -> None:
    ports = take(HERE, 0, 1)
    assert not is_taken(HERE, ports.first)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((HERE, ports.first))
    with thief(ports.first):
        assert is_taken(HERE, ports.first)
        assert listens(os.getpid(), ports.first) and not listens(1, ports.first)


@pytest.mark.slow
def test_crawls_that_begin_at_the_same_moment_all_end_well(tmp_path: Path) -> None:
    (tmp_path / "targets.txt").write_text("12\n")
    port = free_port()
    with contextlib.ExitStack() as running:
        processes = []
        for number in range(4):
            more = ["--ha"] if number % 2 else []
            folder = tmp_path / f"data-{number}"
            options = [str(tmp_path / "targets.txt"), "-T", "-F", "--port", str(port), *WORLD, *more]
            processes.append(running.enter_context(crawling(folder, *options)))
        codes = [process.wait(WITHIN_S) for process in processes]
    said = [(tmp_path / f"data-{number}.log").read_text() for number in range(4)]
    assert codes == [0] * 4, said
    assert sum("takes another port" in words for words in said) == 3
    assert all((tmp_path / f"data-{number}/12/12.fws").exists() for number in range(4))


@pytest.mark.slow
@pytest.mark.parametrize("pair", [False, True], ids=["one", "pair"])
def test_a_crawl_whose_ports_are_taken_before_it_listens_takes_others(
    pair: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "targets.txt").write_text("12\n")
    lost: list[int] = []
    with contextlib.ExitStack() as thieves:

        def stolen(host: str, wanted: int, count: int) -> Ports:
            ports = take(host, wanted, count)
            if len(lost) < 2:  # once the masters', once the emulator's
                lost.append(ports.first + count - 1)
                thieves.enter_context(thief(lost[-1]))
            return ports

        monkeypatch.setattr(crawl_module, "take", stolen)
        asked = CrawlRequest(
            str(tmp_path / "targets.txt"), ("-T",), None, False, 1, ["--users", "40", "--seed", "7"], pair=pair
        )
        crawl = Crawl(Settings(port=free_port(), output_directory=tmp_path / "data"), asked)
        assert crawl.run() == 0
    assert len(lost) == crawl.moves == 2
    assert not {crawl.port, crawl.port + 1} & set(lost)
    assert (tmp_path / "data/12/12.twt").exists()


@pytest.mark.slow
def test_a_master_whose_port_was_taken_while_it_was_dead_goes_on_at_another(tmp_path: Path) -> None:
    (tmp_path / "targets.txt").write_text("12\n")
    folder, port = tmp_path / "data", free_port()
    options = [str(tmp_path / "targets.txt"), "-T", "-F", "-A", "--traversing", "BFS", "--concurrency", "1"]
    log = folder.with_suffix(".log")
    with crawling(folder, *options, "--port", str(port), *WORLD) as process:
        until(lambda: list(folder.glob("*/*.twt")), WITHIN_S)
        (master,) = children(process)["master"]
        os.kill(master, signal.SIGKILL)
        with contextlib.ExitStack() as stolen:
            until(lambda: stolen.enter_context(thief(port)), WITHIN_S, expecting=OSError)
            assert process.wait(WITHIN_S) == 0, log.read_text()
    assert f"the crawl goes on at another port={port}" in log.read_text()
