"""With sentinels the ledger follows its primary: nothing that a failover loses counts, and the crawl goes on."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from master.startup.open_crawl import check_server, client_at, ledger_at
from protocol.errors import FencedError, LedgerError, UsageError
from protocol.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.transitions import AddAccounts
from tests.storage.ledger.scribe import Scribe, done, found, holdings, page
from tests.storage.ledger.sentinel import (
    DISTURBED,
    NAME,
    PASSWORD,
    Server,
    Service,
    own_server,
    own_service,
    own_watcher,
)
from tests.storage.ledger.servers import TIMEOUT_S, master
from tests.storage.ledger.test_master_waits import refusal
from tests.waiting import until

ANSWER_S = 1.0
"""How long the ledgers here wait for an answer: a stopped primary gives none."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A primary and two replicas, so that one is left after a failover."""
    with own_service(tmp_path / "service", replicas=2) as service:
        yield service


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Service]:
    """A primary and one replica."""
    with own_service(tmp_path / "service") as service:
        yield service


def ledger_of(service: Service, durability: str = "everysec", crawl: str = "test") -> Ledger:
    """One that gives a server up soon, when it need not wait for a replica."""
    settings = Settings(crawl=crawl, durability=durability)
    return (
        ledger_at(service.url, settings)
        if durability == "replica"
        else ledger_at(service.url, settings, timeout_s=ANSWER_S)
    )


def primary_port(ledger: Ledger) -> int:
    """Of the server that answers this ledger."""
    return int(ledger._client.info("server")["tcp_port"])


def takes_over(ledger: Ledger, incarnation: str) -> Scribe:
    """Take the lead, as soon as somebody serves."""
    return until(lambda: Scribe.taking(ledger, incarnation), TIMEOUT_S, expecting=LedgerError)


def commands(monitor: Any, *names: str) -> Iterator[tuple[str, str]]:
    """Commands of these names as they come: the name, and the client's port."""
    while True:
        said = monitor.next_command()
        name = said["command"].split(" ", 1)[0].upper()
        if name in names:
            yield name, said["client_port"]


def beat_of(server: Server, crawl: str = "test") -> int:
    with server.client() as client:
        return Ledger(client, crawl).observe().beat


# Who is followed.


@pytest.mark.serial
@pytest.mark.slow
def test_a_commit_after_a_failover_is_refused_or_made_on_the_new_primary(service: Service) -> None:
    scribe = Scribe.taking(ledger_of(service))
    token = scribe.leased()
    scribe.commit(page(token, 1, 3, found=found("T", "20", "21")))
    old = service.kill_primary()
    with pytest.raises(LedgerError):
        scribe.commit(page(token, 2, 6))
    new = service.until_failed_over()
    again = takes_over(scribe.ledger, "second")
    assert primary_port(again.ledger) == new.port != old.port
    with pytest.raises(FencedError):
        scribe.commit(page(token, 2, 6))
    again.commit(page(token, 2, 6))
    assert again.commit(done(token, 3, 6), queues=["T"]).lengths == {"T": 2}
    service.restart_as_replica()
    again.commit(AddAccounts(["5"]))
    until(lambda: beat_of(old) == again.beat, TIMEOUT_S, expecting=LedgerError)


@pytest.mark.serial
@pytest.mark.slow
def test_a_primary_that_comes_back_is_not_written_and_takes_over_what_it_missed(service: Service) -> None:
    scribe = Scribe.taking(ledger_of(service))
    old = service.stop_primary()
    new = service.until_failed_over()
    with contextlib.suppress(LedgerError):  # the old one takes this in, and does it when it comes back
        scribe.commit(AddAccounts(["5"]))
    again = takes_over(scribe.ledger, "second")
    assert primary_port(again.ledger) == new.port
    for number in range(6, 20):
        again.commit(AddAccounts([str(number)]))
    service.resume()
    for number in range(20, 40):
        again.commit(AddAccounts([str(number)]))
    until(lambda: old.follows(new), TIMEOUT_S, expecting=DISTURBED)
    again.commit(AddAccounts(["40"]))
    with old.client() as demoted, new.client() as primary:
        until(lambda: holdings(demoted) == holdings(primary), TIMEOUT_S, expecting=DISTURBED)
    assert set(again.ledger.accounts("seeds")) - {"5"} == {str(number) for number in range(6, 41)}


@pytest.mark.serial
@pytest.mark.slow
def test_a_primary_that_the_sentinels_replaced_is_left_though_it_still_answers(pair: Service) -> None:
    scribe = Scribe.taking(ledger_of(pair))
    old = pair.part_primary()
    new = pair.until_failed_over()
    with old.client() as client:
        assert client.info("replication")["role"] == "master"

    def left() -> bool:
        try:
            scribe.commit(AddAccounts(["5"]))
        except FencedError:
            return True
        return primary_port(scribe.ledger) == new.port

    until(left, TIMEOUT_S, expecting=LedgerError)
    stood_at = beat_of(old)
    again = takes_over(scribe.ledger, "second")
    for _ in range(10):
        again.commit(AddAccounts(["6"]))
    assert primary_port(again.ledger) == new.port
    assert beat_of(old) == stood_at
    assert beat_of(new) == again.beat


@pytest.mark.serial
@pytest.mark.slow
def test_a_demoted_primary_is_left_at_once_and_in_words(pair: Service) -> None:
    scribe = Scribe.taking(ledger_of(pair))
    old = pair.primary
    with old.client() as client:
        client.replicaof("127.0.0.1", pair.replicas[0].port)
    with pytest.raises(LedgerError, match=r"^the ledger's server has become a replica: the sentinels are asked"):
        scribe.commit(AddAccounts(["5"]))


def test_after_any_trouble_the_next_question_connects_anew(tmp_path: Path) -> None:
    with own_server(tmp_path / "server", {}) as server, server.client() as inside:
        scribe = Scribe.taking(ledger_at(f"redis://:{PASSWORD}@127.0.0.1:{server.port}", Settings(crawl="test")))
        scribe.target("1")
        before = scribe.ledger._client.client_id()
        inside.config_set("min-replicas-to-write", 1)
        with pytest.raises(LedgerError, match="Not enough good replicas"):
            scribe.target("2")
        assert scribe.ledger._client.client_id() != before


@pytest.mark.serial
@pytest.mark.slow
def test_a_sentinel_that_was_cut_off_is_not_believed(pair: Service, tmp_path: Path) -> None:
    with (
        own_server(tmp_path / "alone", {}) as alone,
        own_watcher(tmp_path / "outdated", alone.port) as outdated,
    ):
        pair.kill_primary()
        new = pair.until_failed_over()
        for watchers in ([outdated, *pair.watchers], [*pair.watchers, outdated]):
            with client_at(pair.url_of(*watchers)) as client:
                assert client.info("server")["tcp_port"] == new.port


@pytest.mark.serial
@pytest.mark.slow
def test_a_sentinel_that_is_stuck_or_dead_delays_little(pair: Service) -> None:
    stuck, dead, _ = pair.watchers
    assert stuck.process is not None
    stuck.process.send_signal(signal.SIGSTOP)
    dead.stop()
    with client_at(pair.url) as client:
        # One half second to give up the one that is stuck; the rest is for a machine that is busy.
        until(client.ping, 2.0)


# What counts as committed.


@pytest.mark.serial
@pytest.mark.slow
def test_without_its_replica_a_primary_commits_nothing_that_counts(pair: Service) -> None:
    patient = ledger_of(pair, "replica")
    scribe = Scribe.taking(patient)
    token = scribe.leased()
    replica = pair.replicas[0]
    replica.signal(signal.SIGSTOP)
    with pytest.raises(LedgerError, match=r"^no replica of the ledger's server acknowledged a write within 1000 ms$"):
        scribe.commit(page(token, 1, 3))
    replica.signal(signal.SIGCONT)
    again = takes_over(patient, "second")
    assert again.status(page(token, 1, 3)) in (1, 2)
    replica.own.kill()
    with pytest.raises(LedgerError, match=r"^no replica of the ledger's server acknowledged"):
        again.commit(page(token, 2, 6))


def test_a_replica_is_waited_for_over_the_connection_of_the_commit(tmp_path: Path) -> None:
    with own_server(tmp_path / "one", {}) as primary, own_server(tmp_path / "two", {}, primary.port) as replica:
        until(lambda: replica.follows(primary), TIMEOUT_S)
        url = f"redis://:{PASSWORD}@127.0.0.1:{primary.port}"
        scribe = Scribe.taking(ledger_at(url, Settings(crawl="test", durability="replica")))
        with primary.client() as client, client.monitor() as monitor:
            scribe.commit(AddAccounts(["5"]))
            scribe.ledger._client.connection_pool.disconnect()
            scribe.commit(AddAccounts(["6"]))
            names, ports = zip(*itertools.islice(commands(monitor, "EVALSHA", "WAIT"), 4), strict=True)
        assert names == ("EVALSHA", "WAIT", "EVALSHA", "WAIT")
        assert ports[0] == ports[1] != ports[2] == ports[3]


@pytest.mark.serial
@pytest.mark.slow
def test_what_a_replica_acknowledged_is_there_after_the_failover(service: Service) -> None:
    patient = ledger_of(service, "replica")
    scribe, kept = Scribe.taking(patient), 0
    for kept in range(100):
        scribe.commit(AddAccounts([str(kept)]))
    service.kill_primary()
    service.until_failed_over()
    takes_over(patient, "second")
    assert set(patient.accounts("seeds")) >= {str(number) for number in range(kept + 1)}


# What is asked before a crawl begins on a server.


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What was told as a warning."""
    return lambda: " ".join(record.getMessage() for record in caplog.records)


@pytest.mark.serial
@pytest.mark.slow
def test_a_primary_that_would_lose_things_is_refused_through_its_sentinels(
    pair: Service, warned: Callable[[], str]
) -> None:
    settings = Settings(durability="everysec")
    with pair.primary.client() as primary, pair.replicas[0].client() as replica:
        check_server(pair.url, settings)
        assert "set min-replicas-to-write to 1 on every server" in warned()
        primary.config_set("appendonly", "no")
        with pytest.raises(UsageError, match=f"^the server at the service '{NAME}' keeps nothing on disk: "):
            check_server(pair.url, settings)
        primary.config_set("appendonly", "yes")
        replica.config_set("appendonly", "no")
        check_server(pair.url, settings)
        port = pair.replicas[0].port
        assert f"the replica at 127.0.0.1:{port} keeps nothing on disk: set its appendonly to yes" in warned()


@pytest.mark.serial
@pytest.mark.slow
def test_a_well_kept_service_is_not_warned_of(pair: Service, warned: Callable[[], str]) -> None:
    check_server(pair.url, Settings(durability="replica"))
    with pair.primary.client() as client:
        client.config_set("min-replicas-to-write", 1)
    check_server(pair.url, Settings(durability="always"))
    assert warned() == ""


def test_a_new_crawl_that_waits_for_a_replica_is_refused_where_there_is_none(tmp_path: Path) -> None:
    with own_server(tmp_path / "server", {}) as server:
        url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
        with pytest.raises(UsageError, match="has no replica, and --durability replica waits for one: start one, or"):
            check_server(url, Settings(durability="replica"))
        check_server(url, Settings(durability="replica"), begun=True)


# Masters.


def goes_on(primary: Server) -> None:
    """A master writes there."""
    stood_at = until(lambda: beat_of(primary, "main"), TIMEOUT_S, expecting=LedgerError)
    until(lambda: beat_of(primary, "main") > stood_at, TIMEOUT_S, expecting=LedgerError)


@pytest.mark.serial
@pytest.mark.slow
def test_a_master_goes_on_by_itself_after_its_primary_was_killed_twice(tmp_path: Path, service: Service) -> None:
    ledger = ledger_of(service, "replica", "main")
    with master(tmp_path, "--redis", service.url, "--durability", "replica") as leading:
        leading.until_said("took the lead")
        until(lambda: ledger.length("T") == 3, TIMEOUT_S, expecting=LedgerError)
        for times in (2, 3):
            service.kill_primary()
            new = service.until_failed_over()
            leading.until_said("took the lead", times)
            goes_on(new)
            service.restart_as_replica()
            service.until_agreed()
        assert sorted(ledger.accounts("seen")) == ["12", "13", "14"]
        assert ledger.length("T") == 3


@pytest.mark.serial
@pytest.mark.slow
def test_a_crawl_that_was_begun_waits_for_a_primary_in_words_and_a_new_one_does_not(
    tmp_path: Path, pair: Service
) -> None:
    words = f"the sentinels name no primary of '{NAME}' now: the one they knew is down"
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    with master(first, "--redis", pair.url) as leading:
        leading.until_said("took the lead")
    for server in pair.servers:
        server.own.kill()
    until(lambda: all(watcher.knows()["is_sdown"] for watcher in pair.watchers), TIMEOUT_S)
    code, said = refusal(second, "--redis", pair.url)
    assert code == 1
    assert words in said.splitlines()[-1]
    with master(first, "--redis", pair.url) as leading:
        leading.until_said(words)
        for server in pair.servers:
            server.start()
        leading.until_said("took the lead")
