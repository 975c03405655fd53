"""The URL of one server says what was meant, or is refused in one sentence; a server that tells little is taken."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from master.startup.open_crawl import check_server, client_at
from protocol.errors import UsageError
from protocol.settings.settings import Settings
from storage.ledger.url import require_server
from tests.storage.ledger.servers import OwnRedis, own_redis


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://here",
        "redis://me:pass@here:7/3",
        "redis://[::1]:7/0",
        "redis://here?db=4",
        "redis://bücher.example/1",
        "rediss://here/2?ssl_ca_certs=ca.pem&ssl_cert_reqs=required&ssl_check_hostname=true",
        "unix:///run/redis.sock?db=2",
        "unix://:pass@/run/redis.sock",
    ],
)
def test_a_server_is_named(url: str) -> None:
    require_server(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        *((f"redis://{user}:@h/0", "an empty password: write it, better in TMATIC_REDIS") for user in ("", "me")),
        ("unix://:@/run/redis.sock", "an empty password"),
        ("redis://h?password=", "an empty password"),
        ("redis://h?foo=bar", "may say db, password, username behind a question mark, and not 'foo'"),
        ("redis://h?decode_responses=true", "not 'decode_responses'"),
        ("redis://h?socket_timeout=-1", "not 'socket_timeout'"),
        ("redis://h?ssl_ca_certs=x", "not 'ssl_ca_certs'"),
        ("rediss://h?ssl_cert_reqs=maybe", "must say ssl_cert_reqs as none or optional or required"),
        ("redis://h/abc", "its database by a number, not by 'abc'"),
        ("redis://h?db=-1", "its database by a number"),
        ("redis://one?db=first", "its database by a number"),
        ("redis://a..b:1", "no host is named like that"),
        (f"redis://{'x' * 64}/0", "no host is named like that"),
        ("redis://h:70000", "cannot be understood"),
        ("redis://[::1", "cannot be understood"),
        ("sentinel://a..b/m", "no host is named like that"),
    ],
)
def test_what_names_no_server_is_refused_in_one_sentence(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        client_at(url)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnRedis]:
    with own_redis(tmp_path) as server:
        yield server


@pytest.mark.parametrize("kept", ["-config", "-info", "-config -info"])
def test_a_server_that_does_not_tell_how_it_is_is_taken_with_a_warning(
    kept: str, server: OwnRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with server.client() as owner:
        owner.execute_command("ACL", "SETUSER", "crawler", "on", ">word", "~*", "+@all", *kept.split())
    url = server.url.replace("unix://", "unix://crawler:word@")
    with caplog.at_level(logging.WARNING):
        check_server(url, Settings(output_directory=tmp_path, redis=url))
    assert [record.message for record in caplog.records if "its durability is not checked" in record.message]


def test_what_a_server_does_tell_is_judged(server: OwnRedis, tmp_path: Path) -> None:
    with server.client() as owner:
        owner.execute_command("ACL", "SETUSER", "crawler", "on", ">word", "~*", "+@all", "-info")
        owner.config_set("appendfsync", "everysec")
    url = server.url.replace("unix://", "unix://crawler:word@")
    with pytest.raises(UsageError, match="syncs everysec"):
        check_server(url, Settings(output_directory=tmp_path, redis=url))
