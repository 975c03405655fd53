"""A sentinel URL says what was meant, or is refused in one sentence; sentinels that are no help are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from master.startup.open_crawl import check_server, client_at, ledger_at
from protocol.errors import LedgerError, UsageError
from protocol.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.ledger.url import SentinelAddress, place_of, sentinel_address
from tests.ports import free_port
from tests.storage.ledger.sentinel import Service, own_server, own_watcher


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("sentinel://one/crawls", SentinelAddress((("one", 26379),), "crawls")),
        (
            "sentinel://one:1,10.0.0.2:2,three/crawls",
            SentinelAddress((("one", 1), ("10.0.0.2", 2), ("three", 26379)), "crawls"),
        ),
        ("sentinel://[::1]:7,[fe80::2]/crawls", SentinelAddress((("::1", 7), ("fe80::2", 26379)), "crawls")),
        ("sentinel://one/crawls/3", SentinelAddress((("one", 26379),), "crawls", 3)),
        ("sentinel://one/crawls/", SentinelAddress((("one", 26379),), "crawls")),
        ("sentinel://one/my%20crawls", SentinelAddress((("one", 26379),), "my crawls")),
        ("sentinel://:p%40ss@one/crawls", SentinelAddress((("one", 26379),), "crawls", 0, None, "p@ss")),
        ("sentinel://me:p:s@one/crawls", SentinelAddress((("one", 26379),), "crawls", 0, "me", "p:s")),
        (
            "sentinel://one/crawls?sentinel_password=w%26ch",
            SentinelAddress((("one", 26379),), "crawls", sentinel_password="w&ch"),
        ),
    ],
)
def test_a_sentinel_url_is_understood(url: str, address: SentinelAddress) -> None:
    assert sentinel_address(url) == address


@pytest.mark.parametrize("url", ["redis://one:1/0", "rediss://one", "unix:///tmp/redis.sock"])
def test_other_urls_are_left_to_the_library(url: str) -> None:
    assert sentinel_address(url) is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sentinel://one:1,two:2", "must name the service that the sentinels watch: sentinel://HOST"),
        ("sentinel://one:1/", "must name the service"),
        ("sentinel:///crawls", "must name each sentinel by its host"),
        ("sentinel://one,,two/crawls", "must name each sentinel by its host"),
        ("sentinel://one,:26379/crawls", "must name each sentinel by its host"),
        ("sentinel://one:port/crawls", "holds 'one:port': the port of a sentinel is a number from 1 to 65535"),
        ("sentinel://one:0/crawls", "is a number from 1 to 65535"),
        ("sentinel://one:65536/crawls", "is a number from 1 to 65535"),
        ("sentinel://one:²/crawls", "is a number from 1 to 65535"),
        ("sentinel://fe80::2/crawls", "holds 'fe80::2': write an IPv6 address in brackets"),
        ("sentinel://[fe80::2/crawls", "which is no sentinel's HOST:PORT"),
        ("sentinel://[fe80::2]26379/crawls", "which is no sentinel's HOST:PORT"),
        ("sentinel://one/crawls/first", "the number of a database, or with the service: not with 'first'"),
        ("sentinel://one/crawls/0/1", "not with '0/1'"),
        ("sentinel://one/crawls?db=3", "nothing like 'db'"),
    ],
)
def test_a_mistake_in_a_sentinel_url_is_told_in_one_sentence(url: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        ledger_at(url, Settings())
    assert str(caught.value).startswith("--redis ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://one:port", "redis://[fe80::2"])
def test_a_mistake_in_another_url_is_told_in_one_sentence(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--redis cannot be understood: "):
        check_server(url, Settings())


def test_no_password_is_shown() -> None:
    url = f"sentinel://me:hush@127.0.0.1:{free_port()}/crawls?sentinel_password=hush"
    with client_at(url) as client, pytest.raises(LedgerError) as caught:
        Ledger(client, "test").observe()
    assert "hush" not in f"{place_of(url)} {sentinel_address(url)!r} {sentinel_address(url)} {caught.value} {client!r}"


def test_sentinels_that_do_not_answer_are_told() -> None:
    ports = [free_port(), free_port()]
    ledger = ledger_at(f"sentinel://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/crawls", Settings())
    words = rf"^no sentinel answers at 127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]}: .*refused"
    with pytest.raises(LedgerError, match=words):
        ledger.observe()


def test_a_service_that_no_sentinel_knows_is_told(tmp_path: Path) -> None:
    with own_server(tmp_path / "server", {}) as server, own_watcher(tmp_path / "sentinel", server.port) as watcher:
        ledger = ledger_at(f"sentinel://127.0.0.1:{watcher.port}/others", Settings())
        with pytest.raises(LedgerError, match=r"^the sentinels know no service 'others': is it the name"):
            ledger.observe()


def test_sentinels_that_want_a_password_are_given_it(tmp_path: Path) -> None:
    with (
        own_server(tmp_path / "server", {}) as server,
        own_watcher(tmp_path / "sentinel", server.port, password="right") as watcher,
    ):
        url = Service([server], [watcher]).url
        with client_at(f"{url}?sentinel_password=right") as client:
            assert client.ping()
        for wrong in (url, f"{url}?sentinel_password=wrong"):
            with (
                client_at(wrong) as client,
                pytest.raises(LedgerError, match=r"^the sentinels want another password: "),
            ):
                Ledger(client, "test").observe()
