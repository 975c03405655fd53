"""Real partitions of a pair of masters: whatever breaks and is healed, the audit is zero and the dataset the same."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crawl.running import dataset
from tests.partition.pair import MASTERS, WITHIN_S, WORKERS, Hosts, Pair
from tests.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.serial, pytest.mark.slow, pytest.mark.timeout(300)]

STOPPED_S = 5.0
"""How long a leader is stopped that is to wake up as a false one."""
A_WHILE = 30
"""Beats: at a tenth of a second at most, long enough that a standby would have taken a lead that stood still."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts() as hosts:
        yield hosts


@pytest.fixture(scope="module")
def calm(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset of a crawl that nothing disturbs."""
    with hosts.pair(tmp_path_factory.mktemp("calm")) as pair:
        pair.delay.delay(0)
        pair.start()
        pair.finish()
        assert pair.refetched() == 0
        assert len(pair.leads()) == 1, pair.leads()
        found = dataset(pair.data)
        pair.check(found)
        return found


@pytest.fixture
def pair(hosts: Hosts, calm: dict[str, bytes], tmp_path: Path) -> Iterator[Pair]:
    with hosts.pair(tmp_path) as pair:
        yield pair


@pytest.fixture
def led(pair: Pair) -> Pair:
    """A crawl under way that master 0 leads, while master 1 knows both workers."""
    pair.start(0)
    pair.start_master(1)
    pair.until_known(1)
    return pair


# Crashes and pauses.


def test_of_two_that_start_at_once_one_leads_and_both_leave_when_all_is_done(
    pair: Pair, calm: dict[str, bytes]
) -> None:
    pair.start()
    other = 1 - pair.until_leads()
    pair.until_role(other, "standby")
    pair.until_pages(8)
    pair.finish()
    assert [epoch for _, epoch, _ in pair.leads()] == [1]
    assert pair.refetched() == 0
    pair.check(calm)


def test_after_a_crash_the_other_leads_and_no_page_is_fetched_again(led: Pair, calm: dict[str, bytes]) -> None:
    led.kill(0)
    led.until_leads(1)
    led.until_pages(8)
    led.start_master(0)
    led.until_role(0, "standby")  # and it does not take the lead back
    led.until_beats(A_WHILE)
    led.finish()
    assert [epoch for _, epoch, _ in led.leads()] == [1, 2]
    assert led.refetched() == 0
    led.check(calm)


def test_after_both_crashed_and_came_back_the_crawl_goes_on(led: Pair, calm: dict[str, bytes]) -> None:
    for number in (0, 1):
        led.kill(number)
    before = led.lead().incarnation
    for number in (1, 0):
        led.start_master(number)
    until(lambda: led.lead().incarnation not in ("", before), WITHIN_S)
    led.until_pages(8)
    led.finish()
    assert led.refetched() == 0
    led.check(calm)


def test_a_leader_that_wakes_up_behind_another_is_refused_every_write(led: Pair, calm: dict[str, bytes]) -> None:
    """It does not hear from the other one either, so that only the ledger can tell it."""
    led.hosts.world.cut("m0", "m1")
    led.pause(0)
    stopped_at = time.monotonic()
    led.until_leads(1)
    until(lambda: time.monotonic() - stopped_at >= STOPPED_S, WITHIN_S)
    before = led.ledger.totals().get("refused", 0)
    led.resume(0)
    until(lambda: led.ledger.totals().get("refused", 0) > before, WITHIN_S)
    led.until_role(0, "standby")
    led.until_beats(A_WHILE)
    led.finish()
    assert led.status(1)["totals"]["refused"] > before
    assert "does not lead any more" in led.said("m0")
    assert [epoch for _, epoch, _ in led.leads()] == [1, 2]
    assert led.refetched() == 0
    led.check(calm)


def test_a_leader_that_wakes_up_and_hears_of_another_does_not_even_write(led: Pair, calm: dict[str, bytes]) -> None:
    led.pause(0)
    led.until_leads(1)
    led.until_beats(A_WHILE)
    led.resume(0)
    led.until_role(0, "standby")
    led.until_beats(A_WHILE)
    led.finish()
    assert [epoch for _, epoch, _ in led.leads()] == [1, 2]
    assert led.refetched() == 0
    led.check(calm)


def test_a_standby_that_starts_slowly_or_stops_for_a_while_changes_nothing(pair: Pair, calm: dict[str, bytes]) -> None:
    pair.start(0)
    pair.start_master(1)
    pair.pause(1)
    pair.until_beats(A_WHILE)
    pair.resume(1)
    pair.until_role(1, "standby")
    pair.pause(1)
    pair.until_beats(A_WHILE)
    pair.resume(1)
    pair.until_beats(A_WHILE)
    pair.finish()
    assert len(pair.leads()) == 1, pair.leads()
    assert pair.refetched() == 0
    pair.check(calm)


def test_the_lead_changes_hands_on_purpose(led: Pair, calm: dict[str, bytes]) -> None:
    done = led.tool(0, "promote")
    assert done.returncode == 0, done.stderr
    assert led.leader() == 1
    done = led.tool(0, "promote", "--ha", "0")  # asked where it is wanted
    assert done.returncode == 0, done.stderr
    assert led.leader() == 0
    led.finish()
    assert [epoch for _, epoch, _ in led.leads()] == [1, 2, 3]
    assert led.refetched() == 0
    led.check(calm)


# Cuts.


@pytest.mark.parametrize(("a", "b"), [("m0", "m1"), ("m1", "m0")])
def test_a_cut_between_the_masters_alone_changes_nothing(led: Pair, calm: dict[str, bytes], a: str, b: str) -> None:
    led.hosts.world.cut(a, b, one_way=True)
    led.until_beats(A_WHILE)
    led.hosts.world.cut(a, b)
    led.until_beats(A_WHILE)
    led.finish()
    assert len(led.leads()) == 1, led.leads()
    assert led.refetched() == 0
    led.check(calm)


@pytest.mark.parametrize("one_way", [False, True], ids=["both ways", "answers only"])
def test_an_active_master_without_the_ledger_loses_the_lead(led: Pair, calm: dict[str, bytes], one_way: bool) -> None:
    """Where the answers alone are lost, it has committed what it does not know of."""
    led.hosts.world.cut("ledger", "m0", one_way=one_way)
    led.until_leads(1)
    led.until_pages(8)
    led.hosts.world.heal()
    led.until_role(0, "standby")
    led.until_beats(A_WHILE)
    led.finish()
    assert [epoch for _, epoch, _ in led.leads()] == [1, 2]
    assert led.refetched() == 0
    led.check(calm)


def test_a_master_that_is_cut_from_everybody_loses_the_lead(led: Pair, calm: dict[str, bytes]) -> None:
    led.hosts.world.cut_host("m0")
    led.until_leads(1)
    led.until_pages(8)
    led.hosts.world.heal()
    led.until_role(0, "standby")
    led.until_beats(A_WHILE)
    led.finish()
    assert [epoch for _, epoch, _ in led.leads()] == [1, 2]
    assert led.refetched() == 0
    led.check(calm)


def test_a_standby_without_the_ledger_changes_nothing_and_can_lead_when_it_is_back(
    led: Pair, calm: dict[str, bytes]
) -> None:
    led.hosts.world.cut("ledger", "m1")
    led.until_beats(A_WHILE)
    until(lambda: "the ledger's server does not answer" in led.said("m1"), WITHIN_S)
    led.hosts.world.heal()
    until(lambda: "the ledger serves again" in led.said("m1"), WITHIN_S)
    led.kill(0)
    led.until_leads(1)
    led.masters.pop(0)
    led.finish()
    assert led.refetched() == 0
    led.check(calm)


@pytest.mark.parametrize("one_way", [False, True], ids=["both ways", "from the master only"])
def test_an_active_master_that_its_workers_do_not_reach_gives_way(
    led: Pair, calm: dict[str, bytes], one_way: bool
) -> None:
    for worker in WORKERS:
        led.hosts.world.cut("m0", worker, one_way=one_way)
    led.until_leads(1)
    led.until_pages(8)
    led.hosts.world.heal()
    led.until_role(0, "standby")
    led.until_beats(A_WHILE)
    led.finish()
    assert [epoch for _, epoch, _ in led.leads()] == [1, 2]
    assert led.refetched() == 0
    led.check(calm)


def test_where_one_worker_reaches_each_master_the_lead_stays(led: Pair, calm: dict[str, bytes]) -> None:
    for worker, master in zip(WORKERS, MASTERS, strict=True):
        led.hosts.world.cut(worker, master)
    led.until_beats(2 * A_WHILE)
    led.finish()
    assert len(led.leads()) == 1, led.leads()
    led.check(calm)


def test_packets_that_are_lost_everywhere_lose_nothing_else(led: Pair, calm: dict[str, bytes]) -> None:
    for master in MASTERS:
        for other in (*WORKERS, "ledger"):
            led.hosts.world.thin(master, other, 0.15)
    led.hosts.world.thin(*MASTERS, 0.3)
    led.until_pages(25)
    led.finish()
    led.check(calm)


# The ledger's server.


def test_a_slow_ledger_is_only_slow(pair: Pair, calm: dict[str, bytes]) -> None:
    proxies = [pair.hosts.proxy_to_ledger(host) for host in MASTERS]
    for number, proxy in enumerate(proxies):
        pair.ways[number] = f"{proxy.address[0]}:{proxy.address[1]}"
    pair.start()
    for proxy in proxies:
        proxy.delay(0.05)
    pair.until_beats(A_WHILE)
    for proxy in proxies:
        proxy.delay(0)
    pair.finish()
    assert len(pair.leads()) == 1, pair.leads()
    assert pair.refetched() == 0
    pair.check(calm)


def test_an_active_master_whose_way_to_the_ledger_stalls_loses_the_lead(pair: Pair, calm: dict[str, bytes]) -> None:
    """What it sent before arrives when another leads, and is refused."""
    proxy = pair.hosts.proxy_to_ledger("m0")
    pair.ways[0] = f"{proxy.address[0]}:{proxy.address[1]}"
    pair.start(0)
    pair.start_master(1)
    pair.until_role(1, "standby")
    proxy.stall()
    pair.until_leads(1)
    pair.until_pages(5)
    assert pair.ledger.totals().get("refused", 0) == 0
    proxy.resume()
    until(lambda: pair.ledger.totals().get("refused", 0) > 0, WITHIN_S)
    pair.until_role(0, "standby")
    pair.until_beats(A_WHILE)
    pair.finish()
    assert [epoch for _, epoch, _ in pair.leads()] == [1, 2]
    assert pair.refetched() == 0
    pair.check(calm)


def test_a_ledger_that_stalls_for_everybody_is_waited_for(led: Pair, calm: dict[str, bytes]) -> None:
    assert led.server is not None
    led.server.send_signal(signal.SIGSTOP)
    until(lambda: "does not answer" in led.said("m0") and "does not answer" in led.said("m1"), WITHIN_S)
    led.server.send_signal(signal.SIGCONT)
    led.until_leads()
    led.until_pages(8)
    led.finish()
    assert led.refetched() == 0
    led.check(calm)


def test_a_ledger_that_crashes_is_waited_for(led: Pair, calm: dict[str, bytes]) -> None:
    led.kill_ledger()
    until(lambda: "does not answer" in led.said("m0") and "does not answer" in led.said("m1"), WITHIN_S)
    led.start_ledger()
    led.until_pages(8)
    led.finish()
    assert led.refetched() == 0
    led.check(calm)


def test_a_ledger_that_was_rolled_back_is_led_on_and_what_it_forgot_is_done_again(
    led: Pair, calm: dict[str, bytes]
) -> None:
    home, earlier = led.folder / "ledger", led.folder / "earlier"
    shutil.copytree(home / "appendonlydir", earlier)
    led.until_pages(20)
    before = led.lead().incarnation
    led.kill_ledger()
    shutil.rmtree(home / "appendonlydir")
    shutil.copytree(earlier, home / "appendonlydir")
    led.start_ledger()
    until(lambda: led.lead().incarnation not in ("", before), WITHIN_S)
    led.finish()
    epochs = [epoch for _, epoch, _ in led.leads()]
    assert epochs == sorted(set(epochs))
    led.check(calm)


def test_a_ledger_that_is_another_one_is_refused_in_words(led: Pair) -> None:
    led.kill_ledger()
    shutil.rmtree(led.folder / "ledger" / "appendonlydir")
    led.start_ledger()
    assert [led.masters[number].wait(WITHIN_S) for number in (0, 1)] == [2, 2]
    for name in MASTERS:
        assert "and this one is empty: name the right server by --redis, or say --adopt" in led.said(name)
        assert "Traceback" not in led.said(name)
    assert led.pages() == 0
