"""The embedded Valkey keeps what it acknowledged, whoever is killed, and nobody else can take its directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from protocol.errors import LedgerError, UsageError
from storage.ledger.embedded import SETTINGS, EmbeddedValkey
from storage.ledger.server_binary import server_binary
from storage.ledger.socket_path import MAX_SOCKET_PATH_BYTES
from tests.checkout import ROOT
from tests.waiting import until

TIMEOUT_S = 60.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
OWNER = """
import sys, pathlib
from storage.ledger.embedded import EmbeddedValkey
server = EmbeddedValkey(pathlib.Path(sys.argv[1]), sys.argv[2])
print(server.start(), server.pid, flush=True)
sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def other_owner(directory: Path, durability: str = "always") -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Another process that owns the directory, the URL that it was given, and its server's process number."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory), durability],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    url, pid = process.stdout.readline().split()
    try:
        yield process, url, int(pid)
    finally:
        process.kill()
        process.communicate()
        if is_running(int(pid)):
            os.kill(int(pid), signal.SIGKILL)


def is_loading(client: redis.Redis) -> bool:
    try:
        return not client.ping()
    except redis.BusyLoadingError:
        return True


def kill_server(server: EmbeddedValkey) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.alive(), TIMEOUT_S)


def fill(url: str, count: int) -> None:
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipe:
        for number in range(count):
            pipe.rpush("items", number)
        pipe.execute()


def items(url: str) -> list[bytes]:
    with redis.Redis.from_url(url) as client:
        return list(client.lrange("items", 0, -1))


@pytest.mark.parametrize("durability", ["always", "everysec"])
def test_everything_acknowledged_survives_the_kill_of_the_server(tmp_path: Path, durability: str) -> None:
    with EmbeddedValkey(tmp_path / "ledger", durability) as server:
        fill(server.url, 9_999)
        kill_server(server)
        assert items(server.start()) == [b"%d" % number for number in range(9_999)]


def test_a_torn_last_record_is_cut_and_the_rest_is_there(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always") as server:
        fill(server.url, 100)
        kill_server(server)
        (written,) = (tmp_path / "ledger" / "appendonlydir").glob("*.incr.aof")
        os.truncate(written, written.stat().st_size - 7)
        assert items(server.start()) == [b"%d" % number for number in range(99)]


def test_a_transaction_without_its_end_is_as_if_it_had_not_been(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always") as server:
        with redis.Redis.from_url(server.url) as client:
            client.eval("redis.call('set', 'a', 1); redis.call('set', 'b', 1); return 1", 0)
            client.eval("redis.call('set', 'a', 2); redis.call('set', 'b', 2); return 1", 0)
        kill_server(server)
        (written,) = (tmp_path / "ledger" / "appendonlydir").glob("*.incr.aof")
        os.truncate(written, written.stat().st_size - 7)
        with redis.Redis.from_url(server.start()) as client:
            assert client.mget("a", "b") == [b"1", b"1"]


def test_a_server_whose_owner_was_killed_is_adopted_with_all_it_knows(tmp_path: Path) -> None:
    with other_owner(tmp_path / "ledger") as (process, url, pid):
        fill(url, 10)
        process.kill()
        process.wait(TIMEOUT_S)
        with EmbeddedValkey(tmp_path / "ledger", "always") as server:
            assert (server.url, server.pid) == (url, pid)
            assert server.alive()
            assert len(items(url)) == 10
        assert not is_running(pid)


def test_an_adopted_server_that_dies_is_started_again(tmp_path: Path) -> None:
    with other_owner(tmp_path / "ledger") as (process, url, pid):
        fill(url, 10)
        process.kill()
        process.wait(TIMEOUT_S)
        with EmbeddedValkey(tmp_path / "ledger", "always") as server:
            kill_server(server)
            assert len(items(server.start())) == 10
            assert server.pid != pid


def test_an_adopted_server_takes_the_durability_of_its_new_owner(tmp_path: Path) -> None:
    with other_owner(tmp_path / "ledger", "memory") as (process, url, _):
        fill(url, 10)
        process.kill()
        process.wait(TIMEOUT_S)
        with EmbeddedValkey(tmp_path / "ledger", "always") as server:
            kill_server(server)
            assert len(items(server.start())) == 10


@pytest.mark.slow
def test_a_server_that_is_still_loading_is_adopted_and_waited_for(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always") as server:
        fill(server.url, 5_000)
        url = server.url
    owner = "from storage.ledger import embedded; embedded.SETTINGS['key-load-delay'] = '200'" + OWNER
    process = subprocess.Popen([sys.executable, "-c", owner, str(tmp_path / "ledger"), "always"], env=ENVIRONMENT)
    try:
        with redis.Redis.from_url(url) as client:
            until(lambda: is_loading(client), TIMEOUT_S, expecting=redis.ConnectionError)
        process.kill()
        process.wait(TIMEOUT_S)
        with EmbeddedValkey(tmp_path / "ledger", "always") as server:
            assert len(items(url)) == 5_000
            with redis.Redis.from_url(url, decode_responses=True) as client:
                assert client.config_get("key-load-delay")["key-load-delay"] == "200"
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
        with EmbeddedValkey(tmp_path / "ledger", "always"):
            pass


@pytest.mark.slow
def test_a_server_that_is_killed_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedValkey(tmp_path / "ledger", "always")
    with server:
        fill(server.url, 5_000)
        url = server.url
    monkeypatch.setitem(SETTINGS, "key-load-delay", "200")
    killed = []

    def kill_the_first() -> None:
        with redis.Redis.from_url(url) as client:
            until(lambda: is_loading(client), TIMEOUT_S, expecting=redis.ConnectionError)
        assert server.pid is not None
        killed.append(server.pid)
        os.kill(server.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with server:
        killer.join(TIMEOUT_S)
        assert killed
        assert killed != [server.pid]
        assert len(items(url)) == 5_000


def test_a_server_that_is_always_killed_is_given_up_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "server"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr("storage.ledger.embedded.server_binary", lambda: script)
    with pytest.raises(LedgerError, match="was killed 10 times at its start: is memory short"):
        EmbeddedValkey(tmp_path / "ledger", "always").start()


def test_a_second_owner_is_refused_by_the_number_of_the_first(tmp_path: Path) -> None:
    with other_owner(tmp_path / "ledger") as (process, url, _):
        with pytest.raises(LedgerError, match=f"in use by process {process.pid}: stop that one first"):
            EmbeddedValkey(tmp_path / "ledger", "always").start()
        fill(url, 1)


def test_a_server_that_does_not_answer_is_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.ledger.embedded.ANSWER_TIMEOUT_S", 0.3)
    with other_owner(tmp_path / "ledger") as (process, _, pid):
        process.kill()
        process.wait(TIMEOUT_S)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(LedgerError, match="does not answer: end it"):
            EmbeddedValkey(tmp_path / "ledger", "always").start()
        os.kill(pid, signal.SIGCONT)


def test_stopping_leaves_nothing_running_and_the_next_one_resumes(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "ledger", "everysec")
    fill(server.start(), 5)
    pid = server.pid
    assert pid is not None
    server.stop()
    assert not is_running(pid)
    assert not server.alive()
    with other_owner(tmp_path / "ledger") as (_, url, _):
        assert len(items(url)) == 5


@pytest.mark.parametrize("made", [False, True], ids=["before-it-is-there", "when-it-is-there"])
def test_a_stop_while_another_thread_starts_the_server_leaves_none(
    made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedValkey(tmp_path, "always")
    reached, go = threading.Event(), threading.Event()
    before, children = subprocess.Popen, list[subprocess.Popen[bytes]]()
    binary = server_binary()

    def wait() -> None:
        reached.set()
        assert go.wait(TIMEOUT_S)

    def found() -> Path:
        if not made:
            wait()
        return binary

    def popen(*words: Any, **how: Any) -> subprocess.Popen[bytes]:
        child = before(*words, **how)
        if "--version" in words[0]:  # whether the allocator loads is tried once a process
            return child
        children.append(child)
        wait()
        return child

    monkeypatch.setattr("storage.ledger.embedded.server_binary", found)
    monkeypatch.setattr("storage.ledger.embedded.subprocess.Popen", popen)

    refused = list[LedgerError]()

    def start() -> None:
        try:
            server.start()
        except LedgerError as error:
            refused.append(error)

    starting, stopping = threading.Thread(target=start), threading.Thread(target=server.stop)
    try:
        starting.start()
        assert reached.wait(TIMEOUT_S)
        stopping.start()
        stopping.join(TIMEOUT_S if not made else 0.2)
        assert stopping.is_alive() == made
        go.set()
        for thread in (starting, stopping):
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
        assert refused or made, "a server that is made already may come up before it is stopped"
        assert len(children) == made and all(child.poll() is not None for child in children)
    finally:
        go.set()
        for child in children:
            child.kill()
            child.wait()


def test_ctrl_c_in_the_owners_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always") as server:
        assert server.pid is not None
        assert os.getsid(server.pid) != os.getsid(0)


def test_nobody_else_can_enter_and_no_port_is_opened(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always") as server, redis.Redis.from_url(server.url) as client:
        assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "ledger" / "valkey.sock").stat().st_mode & 0o777 == 0o700
        assert client.info("server")["tcp_port"] == 0


@pytest.mark.parametrize("durability, expected", [("always", "always"), ("everysec", "everysec"), ("memory", None)])
def test_durability_is_what_the_server_was_told(tmp_path: Path, durability: str, expected: str | None) -> None:
    with EmbeddedValkey(tmp_path / "ledger", durability) as server:
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            told = client.config_get("append*", "save", "set-max-intset-entries")
        assert told["appendonly"] == ("yes" if expected else "no")
        assert expected in (None, told["appendfsync"])
        assert (told["save"], told["set-max-intset-entries"]) == ("", "512")


def test_a_path_too_long_for_a_socket_works_and_leaves_no_link_behind(tmp_path: Path) -> None:
    place = tmp_path / ("long and with spaces " * 5) / ("é" * 50)
    server = EmbeddedValkey(place, "always")
    url = server.start()
    link = Path(url.removeprefix("unix://")).parent
    try:
        assert len(os.fsencode(url)) <= MAX_SOCKET_PATH_BYTES
        assert link.resolve() == place.resolve()
        fill(url, 3)
        kill_server(server)
        assert server.start() == url
        assert len(items(url)) == 3
    finally:
        server.stop()
    assert not link.parent.exists()


def test_a_folder_of_somebody_else_in_the_place_of_the_link_is_not_trusted(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / ("x" * 100), "always")
    private = Path(server.start().removeprefix("unix://")).parent.parent
    server.stop()
    private.mkdir()
    try:
        private.chmod(0o755)
        with pytest.raises(LedgerError, match="belongs to somebody else"):
            EmbeddedValkey(tmp_path / ("x" * 100), "always").start()
    finally:
        private.rmdir()


def test_a_server_that_dies_at_its_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "ledger", "always")
    with server:
        fill(server.url, 1_000)
    (written,) = (tmp_path / "ledger" / "appendonlydir").glob("*.incr.aof")
    content = bytearray(written.read_bytes())
    content[500:520] = b"?" * 20
    written.write_bytes(content)
    server = EmbeddedValkey(tmp_path / "ledger", "always")
    with pytest.raises(LedgerError, match=r"ended at its start; its last words: .*[Bb]ad file format"):
        server.start()
    assert not server.alive()


def test_a_ledger_on_disk_is_not_left_out_by_mistake(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always"):
        pass
    with pytest.raises(UsageError, match="which durability memory would leave out"):
        EmbeddedValkey(tmp_path / "ledger", "memory").start()


def test_a_durability_that_needs_a_replica_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match="name a server with --redis URL"):
        EmbeddedValkey(Path("ledger"), "replica")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"file/ledger cannot be used: Not a directory"):
        EmbeddedValkey(tmp_path / "file" / "ledger", "always").start()


def test_both_servers_of_the_tests_answer_and_are_empty(valkey: str, redis_server: str) -> None:
    for url in (valkey, redis_server):
        assert items(url) == []
        fill(url, 1)
