"""Trouble of the server is told in words, commits nothing by halves, and is over when it is over."""

from __future__ import annotations

import re
import resource
import signal
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
import redis

from protocol.errors import FencedError, LedgerError
from storage.ledger.ledger import Ledger
from storage.ledger.transitions import AddAccounts, AddJobs, NewJob
from tests.storage.ledger.scribe import Scribe, done, found, holdings, page
from tests.storage.ledger.servers import TIMEOUT_S, OwnRedis, own_redis
from tests.waiting import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    with own_redis(tmp_path) as server:
        yield server


@pytest.fixture
def scribe(server: OwnRedis) -> Iterator[Scribe]:
    with server.client() as client:
        yield Scribe.taking(Ledger(client, "test"))


def refused(scribe: Scribe, token: str, words: str) -> None:
    """A large commit is refused with these words, and left nothing behind."""
    client = scribe.ledger._client
    before = holdings(client)
    with pytest.raises(LedgerError, match=words) as caught:
        scribe.commit(
            AddAccounts(["5"]),
            AddJobs("seen", front=False, jobs=[NewJob("1", "T", b"\x00\x19\x00\x01", "")]),
            page(token, 1, 3, found=found("T", "20")),
            queues=["T"],
        )
    assert not isinstance(caught.value, FencedError)
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value)
    assert holdings(client) == before


def goes_on(scribe: Scribe, token: str) -> None:
    """The same commit is accepted now."""
    scribe.commit(AddAccounts(["5"]), page(token, 1, 3, found=found("T", "20", "21")))
    assert scribe.commit(done(token, 2, 3), queues=["T"]).lengths == {"T": 2}


def test_a_server_that_is_away_is_waited_for(scribe: Scribe, server: OwnRedis) -> None:
    token = scribe.leased()
    server.kill()
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"^the ledger's server does not answer: "):
            scribe.commit(done(token, 1, 1))
    with pytest.raises(LedgerError, match="does not answer"):
        scribe.ledger.observe()
    server.start()
    goes_on(scribe, token)


def test_what_was_acknowledged_is_there_after_a_restart(scribe: Scribe, server: OwnRedis) -> None:
    token = scribe.leased()
    scribe.commit(page(token, 1, 3, found=found("T", "20", "21")))
    before = holdings(scribe.ledger._client)
    server.kill()
    server.start()
    assert holdings(scribe.ledger._client) == before
    assert scribe.commit(done(token, 2, 3)).held == 0


def test_a_server_that_is_stuck_is_given_up_after_the_timeout_and_comes_back(scribe: Scribe, server: OwnRedis) -> None:
    token = scribe.leased()
    assert server.process is not None
    with server.client(timeout_s=0.3) as client:
        hurried = Scribe(Ledger(client, "test"), scribe.lead, scribe.beat)
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(LedgerError, match="does not answer"):
            hurried.commit(page(token, 1, 3))
        server.process.send_signal(signal.SIGCONT)
    # Whether it was committed is not known: who waits for the server, reads and takes the lead again, finds out.
    seen = until(scribe.ledger.observe, TIMEOUT_S)
    again = Scribe.taking(scribe.ledger, "second")
    assert again.status(page(token, 1, 3)) == (2 if seen.beat > scribe.beat else 1)
    assert scribe.ledger.totals()["T.records"] == 3


@pytest.mark.slow
def test_a_server_that_loads_says_so_and_serves_when_it_is_done(scribe: Scribe, server: OwnRedis) -> None:
    token = scribe.leased()
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(30_000):
            pipe.set(f"other{number % 10}", "x" * 100)
        pipe.execute()
    server.kill()
    server.start(answering=False, key_load_delay="300")

    def loading() -> bool:
        try:
            scribe.ledger.observe()
        except LedgerError as error:
            return "is still loading its data; waiting for it" in str(error)
        return False

    until(loading, TIMEOUT_S)
    with pytest.raises(LedgerError, match="is still loading its data"):
        scribe.commit(done(token, 1, 1))
    with server.client() as client:
        client.config_set("key-load-delay", 0)
    until(lambda: scribe.ledger.observe().beat == scribe.beat, TIMEOUT_S, expecting=LedgerError)
    goes_on(scribe, token)


def test_a_replica_is_refused_until_it_is_the_primary(scribe: Scribe, server: OwnRedis) -> None:
    token = scribe.leased()
    with server.client() as client:
        client.replicaof("127.0.0.1", 1)
        refused(scribe, token, "is a read-only replica: point --redis at the primary$")
        client.replicaof("NO", "ONE")
    goes_on(scribe, token)


def test_a_server_without_memory_refuses_whole_commits(scribe: Scribe, server: OwnRedis) -> None:
    token = scribe.leased()
    with server.client() as client:
        client.config_set("maxmemory", 1)
        refused(scribe, token, "is out of memory: raise its maxmemory, and set its policy to noeviction$")
        client.config_set("maxmemory", 0)
    goes_on(scribe, token)


def test_a_commit_that_first_takes_away_is_whole_without_memory_too(scribe: Scribe, server: OwnRedis) -> None:
    scribe.target("1", "2", "3")
    with server.client() as client:
        client.config_set("maxmemory", 1)
        before = holdings(client)
        try:
            handed_out = len(scribe.lease(most=3))
        except LedgerError:
            assert holdings(client) == before
        else:
            assert handed_out == len(scribe.ledger.held()) == 3
            assert scribe.ledger.length("T") == 0


def test_a_snapshot_that_cannot_be_written_is_told_as_a_full_disk(
    scribe: Scribe, server: OwnRedis, tmp_path: Path
) -> None:
    token = scribe.leased()
    (tmp_path / "dump.rdb").mkdir()
    with server.client() as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", TIMEOUT_S)
        refused(scribe, token, "cannot write to its disk: make room there; it goes on by itself$")
        (tmp_path / "dump.rdb").rmdir()
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok", TIMEOUT_S)
    goes_on(scribe, token)


def test_a_log_that_cannot_grow_is_told_as_a_full_disk(scribe: Scribe, server: OwnRedis) -> None:
    token = scribe.leased()
    assert server.process is not None
    with server.client() as client:
        client.config_set("appendfsync", "everysec")
        size = int(client.info("persistence")["aof_current_size"])
        unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 100, unlimited[1]))
        client.set("other", "x" * 1000)
        until(lambda: client.info("persistence")["aof_last_write_status"] == "err", TIMEOUT_S)
        refused(scribe, token, "cannot write to its disk: make room there; it goes on by itself$")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)
        until(lambda: client.info("persistence")["aof_last_write_status"] == "ok", TIMEOUT_S)
    goes_on(scribe, token)


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_wrong_or_missing_password_is_told(tmp_path: Path, password: str | None) -> None:
    words = r"wants another password: give it in the URL by TMATIC_REDIS$"
    with own_redis(tmp_path) as server, server.client() as inside:
        inside.config_set("requirepass", "right")
        with server.client(password=password) as client, pytest.raises(LedgerError, match=words):
            Ledger(client, "test").observe()
        with server.client(password="right") as client:
            Scribe.taking(Ledger(client, "test")).target("1")


@pytest.mark.parametrize("name", ["lead", "held", "totals", "sets", "log", "heads", "queue:T"])
def test_a_key_of_ours_that_is_of_another_kind_is_told(scribe: Scribe, server: OwnRedis, name: str) -> None:
    token = scribe.leased()
    key = scribe.ledger.prefix + name
    with server.client() as client:
        kept = client.dump(key)
        client.set(key, "of somebody else")
        refused(scribe, token, "^the ledger's server refused: .*WRONGTYPE|wrong kind of value")
        client.delete(key)
        if kept is not None:
            client.restore(key, 0, kept)
    goes_on(scribe, token)


def test_a_server_that_does_not_know_the_user_enough_says_so(server: OwnRedis, scribe: Scribe) -> None:
    with server.client() as client:
        client.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], categories=["+@read"])
    with server.client(username="reader", password="any") as client:
        reader = Scribe(Ledger(client, "test"), scribe.lead, scribe.beat)
        assert reader.ledger.observe() == scribe.lead
        with pytest.raises(LedgerError, match=r"^the ledger's server refused: .*permissions"):
            reader.commit()


def test_nobody_listens_there(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/nothing.sock"
    words = r"^the ledger's server does not answer: .*nothing.sock"
    with redis.Redis.from_url(address) as client, pytest.raises(LedgerError, match=words):
        Ledger(client, "test").observe()


def test_every_command_of_the_script_is_asked_for_before_the_first_write() -> None:
    source = resources.files("storage.ledger").joinpath("ledger.lua").read_text(encoding="utf-8")
    _, begins, rest = source.partition("local COMMANDS")
    listed, ends, _ = rest.partition("'[^,]+'")
    assert begins and ends
    assert set(re.findall(r"\bcall\('([A-Z]+)'", source)) == set(re.findall(r"\b[A-Z]{3,}\b", listed))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["hdel", "lpop", "sadd", "srem", "ltrim"])
def test_a_user_that_may_not_do_all_of_it_does_nothing(scribe: Scribe, server: OwnRedis, command: str) -> None:
    """A script that the server stops half way has written half."""
    token = scribe.leased()
    with server.client() as owner:
        owner.execute_command("ACL", "SETUSER", "crawler", "on", ">word", "~*", "+@all", f"-{command}")
        with server.client(username="crawler", password="word") as client:
            limited = Scribe(Ledger(client, "test"), scribe.lead, scribe.beat)
            refused(limited, token, rf"its user may not {command.upper()} the keys that begin with \S+; give its user")
            with pytest.raises(LedgerError, match="may not"):
                limited.ledger.take("second", scribe.ledger.observe(), witness=0, ledger_id="x", name="another")
            owner.execute_command("ACL", "SETUSER", "crawler", f"+{command}")
            goes_on(limited, token)
