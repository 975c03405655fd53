"""A master whose Redis is away, stuck or restarted waits in words and goes on; one that loses things is refused."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from protocol.admin_client import ask_masters
from storage.ledger.ledger import Ledger
from tests.checkout import ROOT
from tests.ports import free_port
from tests.storage.ledger.servers import TIMEOUT_S, Master, OwnRedis, environment, master, master_command, own_redis
from tests.waiting import until

pytestmark = pytest.mark.slow

TRIES = 4
"""To take the lead, half a second apart."""


def asked(leading: Master) -> dict[str, Any]:
    """What a master answers to a tool."""
    place = f"127.0.0.1:{leading.port}"
    return ask_masters([place], "status", within_s=TIMEOUT_S)[place]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with own_redis(folder) as server:
        yield server


@pytest.fixture
def ledger(server: OwnRedis) -> Iterator[Ledger]:
    with server.client() as client:
        yield Ledger(client, "main")


def beats(ledger: Ledger) -> None:
    """The master goes on writing."""
    before = ledger.observe().beat
    until(lambda: ledger.observe().beat > before, TIMEOUT_S)


def tells_it_once(leading: Master, client: redis.Redis, words: str) -> None:
    """A master that tries to write again and again says what is wrong once, and not in between that all is well."""

    def tries() -> int:
        return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])

    before = tries()
    until(lambda: tries() >= before + TRIES, TIMEOUT_S)
    said = [line for line in leading.words.read_text().splitlines() if words in line or "serves again" in line]
    kinds = ("workers keep what they hold until it is well again", "does not lead any more")
    assert len(said) == 2 and all(kind in line for kind, line in zip(kinds, said, strict=True)), said
    assert words in asked(leading)["trouble"], "whoever looks is told all the time"


def test_a_master_waits_for_a_redis_that_is_away_and_goes_on(tmp_path: Path, server: OwnRedis, ledger: Ledger) -> None:
    with master(tmp_path, "--redis", server.url) as leading:
        leading.until_said("took the lead")
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
        server.stop()
        leading.until_said("does not answer")
        leading.until_said("workers keep what they hold until it is well again")
        state = asked(leading)
        assert state["state"] == "waiting for the ledger"
        assert "does not answer" in state["trouble"]
        server.start()
        leading.until_said("the ledger serves again")
        leading.until_said("took the lead", 2)
        beats(ledger)
        assert ledger.length("T") == 3
        assert ledger.observe().epoch == 2
        assert leading.words.read_text().count("workers keep what they hold") <= 3


def test_a_master_outlives_ten_kills_of_its_redis(tmp_path: Path, server: OwnRedis, ledger: Ledger) -> None:
    with master(tmp_path, "--redis", server.url) as leading:
        leading.until_said("took the lead")
        for _ in range(10):
            server.kill()
            server.start()
            beats(ledger)
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
        assert sorted(ledger.accounts("seen")) == ["12", "13", "14"]


def test_a_master_answers_while_its_redis_is_stuck_and_goes_on_after(
    tmp_path: Path, server: OwnRedis, ledger: Ledger
) -> None:
    with master(tmp_path, "--redis", server.url) as leading:
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        for _ in range(20):
            state = asked(leading)
            assert state["crawl"] == "main"
        server.process.send_signal(signal.SIGCONT)
        beats(ledger)
        assert ledger.observe().epoch == 1
        assert not leading.said("does not answer")


def test_a_status_tells_totals_that_are_as_new_as_the_queues(tmp_path: Path, server: OwnRedis, ledger: Ledger) -> None:
    with master(tmp_path, "--redis", server.url) as leading, server.client() as client:
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
        for done in range(1, 20):
            client.hset(ledger.prefix + "totals", "T.done", done)
            assert asked(leading)["operations"]["timeline"]["completed"] == done


@pytest.mark.parametrize(
    ("trouble", "mended", "words"),
    [
        ({"maxmemory": "1"}, {"maxmemory": "0"}, "is out of memory"),
        ({"min-replicas-to-write": "1"}, {"min-replicas-to-write": "0"}, "refused: "),
    ],
    ids=["out of memory", "not enough replicas"],
)
def test_a_master_waits_for_a_redis_that_refuses_writes(
    tmp_path: Path, server: OwnRedis, ledger: Ledger, trouble: dict[str, str], mended: dict[str, str], words: str
) -> None:
    with master(tmp_path, "--redis", server.url) as leading, server.client() as client:
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
        for name, value in trouble.items():
            client.config_set(name, value)
        leading.until_said(words)
        tells_it_once(leading, client, words)
        for name, value in mended.items():
            client.config_set(name, value)
        leading.until_said("the ledger serves again")
        beats(ledger)


def test_a_master_waits_while_its_redis_is_a_replica(tmp_path: Path, server: OwnRedis, ledger: Ledger) -> None:
    with master(tmp_path, "--redis", server.url) as leading, server.client() as client:
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
        client.replicaof("127.0.0.1", 1)
        leading.until_said("is a read-only replica: point --redis at the primary")
        tells_it_once(leading, client, "is a read-only replica")
        client.replicaof("NO", "ONE")
        leading.until_said("the ledger serves again")
        beats(ledger)


def test_a_stopped_master_gives_the_lead_back(tmp_path: Path, server: OwnRedis, ledger: Ledger) -> None:
    with master(tmp_path, "--redis", server.url) as leading:
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
        leading.process.send_signal(signal.SIGTERM)
        assert leading.process.wait(TIMEOUT_S) == 143
    assert ledger.observe().incarnation == ""


def refusal(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of a master that will not start, and what it said."""
    (folder / "targets.txt").write_text("12\n")
    new = ["-T", "--stream", str(folder / "targets.txt"), "--output", str(folder / "data")]
    command = master_command(*new, "--port", str(free_port()), *arguments)
    done = subprocess.run(command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=TIMEOUT_S)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({"appendonly": "no"}, (), "keeps nothing on disk: set its appendonly to yes, or say --durability memory"),
        (
            {"appendfsync": "everysec"},
            (),
            "syncs everysec: set its appendfsync to always, or say --durability everysec",
        ),
        ({"appendonly": "no"}, ("--durability", "everysec"), "keeps nothing on disk"),
        (
            {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"},
            (),
            "may evict what it holds: set its maxmemory-policy to noeviction",
        ),
        (
            {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"},
            ("--durability", "memory"),
            "may evict what it holds",
        ),
    ],
)
def test_a_redis_that_would_lose_things_is_refused_in_one_sentence(
    tmp_path: Path, server: OwnRedis, settings: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    with server.client() as client:
        for name, value in settings.items():
            client.config_set(name, value)
        code, said = refusal(tmp_path, "--redis", server.url, *arguments)
        assert code == 2
        assert words in said.splitlines()[-1]
        assert not client.keys()


def test_a_redis_with_another_password_is_refused(tmp_path: Path, server: OwnRedis) -> None:
    with server.client() as client:
        client.config_set("requirepass", "right")
        code, said = refusal(tmp_path, "--redis", server.url)
    assert code == 1
    assert "wants another password" in said.splitlines()[-1]


def test_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    code, said = refusal(tmp_path, "--redis", "http://127.0.0.1:6379")
    assert code == 2
    assert "redis" in said.splitlines()[-1]


def test_a_redis_that_was_never_there_is_told(tmp_path: Path) -> None:
    code, said = refusal(tmp_path, "--redis", f"unix://{tmp_path}/nothing.sock")
    assert code == 1
    assert "does not answer" in said.splitlines()[-1]


def test_another_ledger_than_the_datasets_own_is_refused(tmp_path: Path, server: OwnRedis, ledger: Ledger) -> None:
    with master(tmp_path, "--redis", server.url):
        until(lambda: ledger.length("T") == 3, TIMEOUT_S)
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    code, said = refusal(tmp_path, "--redis", server.url)
    assert code == 2
    assert "belongs to ledger" in said.splitlines()[-1]
    assert "--adopt" in said.splitlines()[-1]


def test_a_second_master_without_a_peer_is_told_so_and_leaves(tmp_path: Path, server: OwnRedis, ledger: Ledger) -> None:
    with master(tmp_path, "--redis", server.url) as leading:
        leading.until_said("took the lead")
        same = ["-T", "--stream", str(tmp_path / "targets.txt"), "--output", str(tmp_path / "data")]
        command = master_command(*same, "--port", str(free_port()), "--redis", server.url)
        second = subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert second.returncode == 1
        said = second.stderr.splitlines()[-1]
        assert "is led by master" in said and "start both as a pair by --ha" in said
        beats(ledger)
