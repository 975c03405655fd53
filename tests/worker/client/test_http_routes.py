"""Through a proxy, and to a service that a private authority vouches for: as the settings say, and never else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.errors import UsageError
from protocol.settings.settings import Settings
from protocol.transport.http_routes import is_proxy, unused, ways_of
from tests.ports import free_port
from tests.worker.client.test_http import dripping
from tests.worker.proxying import Proxying
from tests.worker.scripted import AUTHORITY, Reply, Scripted
from worker.client import http
from worker.client.allowance import RequestAllowance
from worker.client.http import Call, HttpAnswer, HttpClient, NoAnswerError
from worker.client.retrying_client import ServiceError
from worker.sources.twitter import Twitter

CA = str(AUTHORITY)


def send(
    url: str, *proxies: str, ca: tuple[str, ...] = (), address: str = "", timeout_s: float = 5.0, method: str = "GET"
) -> HttpAnswer:
    line = HttpClient("twittomatic/test", ways_of(proxies, ca))
    return line.send(Call("x", url + "/x", {"user_id": "12"}, method), address, timeout_s)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_proxy_is_asked_for_a_service_with_http(service: Scripted, proxy: Proxying, method: str) -> None:
    assert send(service.url, proxy.url, method=method).body == b"[]"
    assert proxy.asked[0].startswith(f"{method} {service.url}/x") and service.asked[0].params == {"user_id": "12"}


def test_a_proxy_makes_a_tunnel_to_a_service_with_https(secure: Scripted, proxy: Proxying) -> None:
    line = HttpClient("t", ways_of((proxy.url,), (CA,)))
    for _ in range(2):
        assert line.send(Call("x", secure.url, {}, headers={"Authorization": "Bearer s3cret"}), "", 5.0).status == 200
    assert [asked.rpartition(" ")[0] for asked in proxy.asked] == [f"CONNECT {secure.url.removeprefix('https://')}"]
    assert secure.asked[1].headers["authorization"] == "Bearer s3cret"
    assert "proxy-authorization" not in secure.asked[1].headers


def test_what_is_bound_is_the_address_towards_the_proxy(service: Scripted, secure: Scripted, proxy: Proxying) -> None:
    send(service.url, proxy.url, address="127.0.0.9")
    send(secure.url, proxy.url, ca=(CA,), address="127.0.0.8")
    assert proxy.addresses == ["127.0.0.9", "127.0.0.8"]


def test_a_private_authority_is_trusted_only_where_it_is_named(secure: Scripted) -> None:
    with pytest.raises(NoAnswerError, match="no secure connection") as refused:
        send(secure.url)
    assert not refused.value.sent, "the service cannot have counted it"
    assert send(secure.url, ca=(CA,)).status == 200
    assert send(secure.url, ca=(f"127.0.0.1={CA}",)).status == 200
    with pytest.raises(NoAnswerError, match="no secure connection"):
        send(secure.url, ca=(f"other.example={CA}",))


def test_a_proxy_of_one_host_is_for_no_other(service: Scripted, proxy: Proxying) -> None:
    send(service.url, f"other.example={proxy.url}")
    assert not proxy.asked
    send(service.url, "http://127.0.0.1:9", f"127.0.0.1={proxy.url}")
    assert len(proxy.asked) == 1


@pytest.fixture
def surrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CA)


@pytest.mark.usefixtures("surrounded")
def test_what_the_environment_says_is_not_used(service: Scripted, secure: Scripted) -> None:
    assert send(service.url).status == 200
    with pytest.raises(NoAnswerError, match="no secure connection"):
        send(secure.url)


def test_what_the_environment_says_and_is_not_used_is_told() -> None:
    environment = {"https_proxy": "http://u:hush@p:1", "SSL_CERT_FILE": "/x.pem", "HTTP_PROXY": ""}
    assert unused((), (), environment) == [
        "HTTPS_PROXY is set and not used here: say --proxy http://HOST:PORT if it is meant for the crawl",
        "SSL_CERT_FILE is set and not used here: say --ca-file FILE if it is meant for the crawl",
    ]
    assert unused(("http://p:1",), ("x.pem",), environment) == unused((), (), {}) == []


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_that_wants_a_password_gets_it_or_says_so(
    service: Scripted, secure: Scripted, proxy: Proxying, tls: bool
) -> None:
    url = secure.url if tls else service.url
    proxy.wants = "me:p@ss,word"
    with pytest.raises(NoAnswerError) as refused:
        send(url, proxy.url, ca=(CA,))
    said = str(refused.value)
    assert f"the proxy {proxy.place} refuses: 407 Proxy Authentication Required; a name" in said
    assert not refused.value.sent
    named = proxy.url.replace("//", "//me:p%40ss%2Cword@")
    assert send(url, named, ca=(CA,)).status == 200
    proxy.wants = "me:another"
    with pytest.raises(NoAnswerError) as refused:
        send(url, named, ca=(CA,))
    assert "p%40ss" not in str(refused.value) and "p@ss" not in str(refused.value)


def test_a_tunnel_that_is_refused_was_not_counted_by_the_service(secure: Scripted, proxy: Proxying) -> None:
    proxy.refuses = "502 Bad\x1b[2J Gateway"
    with pytest.raises(NoAnswerError) as refused:
        send(secure.url, proxy.url, ca=(CA,))
    assert f"the proxy {proxy.place} refuses: 502 Bad [2J Gateway" in str(refused.value) and not refused.value.sent
    assert not secure.asked


def test_a_proxy_that_is_down_is_named(service: Scripted, secure: Scripted) -> None:
    place = f"127.0.0.1:{free_port()}"
    for url in (service.url, secure.url):
        with pytest.raises(NoAnswerError) as refused:
            send(url, f"http://me:hush@{place}", ca=(CA,))
        assert str(refused.value) == f"no connection to the proxy {place}: Connection refused"
        assert not refused.value.sent


def test_an_answer_that_may_be_the_proxys_own_is_told_so(service: Scripted, proxy: Proxying) -> None:
    service.answers(Reply(502))
    settings = Settings(base_url=service.url, proxy=(proxy.url,), max_attempts=1)
    twitter = Twitter(settings)
    asking = twitter.reader(twitter.callers()[0].who, RequestAllowance(9), lambda told: None)
    with pytest.raises(ServiceError, match=f"the service or the proxy {proxy.place} answers 502"):
        asking.followers("12", "")


def test_all_who_call_through_a_proxy_share_a_budget() -> None:
    settings = Settings(proxy=("http://me:hush@p.example:3128",), bind_ip=("127.0.0.2", "127.0.0.3"))
    assert {caller.who for caller in Twitter(settings).callers()} == {"proxy:p.example:3128"}
    other = Settings(proxy=("other.example=http://p.example:3128",), bind_ip=("127.0.0.2",))
    assert {caller.who for caller in Twitter(other).callers()} == {"address:127.0.0.2"}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(http, "_HEAD_WITHIN", 0.5)
    monkeypatch.setattr(http, "_WHOLE_WITHIN", 0.5)
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 10.0


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_a_tunnel_or_a_handshake_that_trickles_is_not_waited_for(secure: Scripted, proxy: Proxying) -> None:
    proxy.trickles = True
    with pytest.raises(NoAnswerError, match="not whole") as refused:
        send(secure.url, proxy.url, ca=(CA,), timeout_s=1.0)
    assert not refused.value.sent
    with dripping(b"\x16\x03\x03\x40\x00", b"\x02", 0.02) as url, pytest.raises(NoAnswerError) as refused:
        send(url.replace("http:", "https:"), ca=(CA,), timeout_s=1.0)
    assert not refused.value.sent


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_an_answer_that_trickles_through_a_tunnel_is_not_waited_for(secure: Scripted, proxy: Proxying) -> None:
    secure.answers(Reply(body=b"x" * 10_000, trickle_s=0.02), Reply(body=b"[7]"))
    line = HttpClient("t", ways_of((proxy.url,), (CA,)))
    with pytest.raises(NoAnswerError, match="not whole") as refused:
        line.send(Call("x", secure.url, {}), "", 1.0)
    assert refused.value.sent
    assert line.send(Call("x", secure.url, {}), "", 5.0).body == b"[7]"


RIGHT = ("http://p.example:3128", "http://[::1]:3128/", "http://me:p%40ss@p:1", "api.example.org=http://p:1")
WRONG = ("socks5://p:1080", "https://p:1", "p:1", "http://p", "http://p:1/x", "http://p:1?x", "h=", "h=p:1", "")
WITHOUT = ("http://me:@p:1", "http://:x@p:1", "http://me@p:1", "http://@p:1", "http://:@p:1")


def test_a_proxy_is_a_url_of_http_with_a_port_and_whole_credentials() -> None:
    assert [text for text in (*RIGHT, "[2001:db8::1]=http://p:1", *WRONG, *WITHOUT) if is_proxy(text)] == [
        *RIGHT,
        "[2001:db8::1]=http://p:1",
    ]


def test_a_file_of_certificates_that_is_of_no_use_is_refused_in_words(tmp_path: Path) -> None:
    empty, junk, key = (tmp_path / name for name in ("empty", "junk", "key.pem"))
    empty.touch()
    junk.write_text("hello\n")
    key.write_text((AUTHORITY.parent / "service.pem").read_text().partition("-----BEGIN CERT")[0])
    for file, words in (
        (tmp_path / "none", "none cannot be read: No such file or directory"),
        (empty, "empty is empty: name a file of PEM certificates"),
        (tmp_path, " is not a file: name a file of PEM certificates"),
        (junk, "junk holds no certificate that can be read"),
        (key, "holds no certificate that can be read"),
    ):
        for said in (str(file), f"api.example.org={file}"):
            with pytest.raises(UsageError) as refused:
                ways_of((), (said,))
            assert words in str(refused.value) and "--ca-file" in str(refused.value)
    with pytest.raises(UsageError, match="--proxy is said twice for h: keep one"):
        ways_of(("h=http://p:1", "h=http://p:2"), ())
