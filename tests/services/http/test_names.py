"""Under which names a service may be asked, and which pages are its own."""

from __future__ import annotations

import pytest

from protocol.errors import UsageError
from services.http.names import Names
from services.listening import host_name

OWN = [
    ("http://127.0.0.1:9898", "127.0.0.1:9898"),
    ("http://LOCALHOST:9898", "localhost:9898"),
    ("http://[::1]:9898", "[::1]:9898"),
    ("http://127.0.0.1", "127.0.0.1:80"),
    ("https://crawl.example.org", "crawl.example.org"),
    ("https://crawl.example.org", "crawl.example.org:443"),
    ("http://crawl.example.org:8080", "Crawl.example.org:8080"),
    ("https://crawl.example.org:8443", "crawl.example.org:8443"),
    ("https://[2001:db8::7]", "[2001:db8::7]"),
]
STRANGE = [
    ("https://127.0.0.1:9898", "127.0.0.1:9898"),  # we speak http there
    ("http://127.0.0.1:9899", "127.0.0.1:9898"),
    ("http://127.0.0.1", "127.0.0.1:9898"),
    ("http://localhost:9898", "127.0.0.1:9898"),
    ("http://crawl.example.org", "crawl.example.org:443"),
    ("https://crawl.example.org:8443", "crawl.example.org"),
    ("https://crawl.example.org.evil.example", "crawl.example.org"),
    ("https://evil.example", "crawl.example.org"),
    ("https://u@crawl.example.org", "crawl.example.org"),
    ("https://crawl.example.org/", "crawl.example.org"),
    ("ftp://crawl.example.org", "crawl.example.org"),
    ("crawl.example.org", "crawl.example.org"),
    ("null", "crawl.example.org"),
    ("", "crawl.example.org"),
    ("https://[::1", "[::1"),
]
NAMES = Names("127.0.0.1", ["crawl.example.org", "[2001:DB8::7]"])


@pytest.mark.parametrize(("origin", "host"), OWN)
def test_a_page_of_ours_has_the_host_and_port_that_was_asked(origin: str, host: str) -> None:
    assert NAMES.known(host)
    assert NAMES.own_page(origin, host)


@pytest.mark.parametrize(("origin", "host"), STRANGE)
def test_any_other_page_is_strange(origin: str, host: str) -> None:
    assert not NAMES.own_page(origin, host)


@pytest.mark.parametrize("host", ["crawl.example.org.", "[2001:db8::7]:443", "127.9.9.9"])
def test_a_name_that_was_named_is_known_with_any_port(host: str) -> None:
    assert NAMES.known(host)


@pytest.mark.parametrize("host", ["example.org", "xcrawl.example.org", "2001:db8::7", "crawl.example.org:x", ""])
def test_a_name_that_nobody_named_is_not(host: str) -> None:
    assert not NAMES.known(host)


def test_only_who_has_no_name_beyond_this_machine_is_local() -> None:
    assert Names("127.0.0.1").local and Names("::1", ["localhost"]).local
    assert not NAMES.local
    assert not Names("0.0.0.0").local and not Names("192.0.2.7").local


def test_a_name_of_other_letters_is_kept_as_browsers_send_it() -> None:
    assert host_name("Crawl.exämple.org") == "crawl.xn--exmple-cua.org"
    assert Names("127.0.0.1", [host_name("crawl.exämple.org")]).known("crawl.xn--exmple-cua.org:443")


@pytest.mark.parametrize("text", ["..", "a..b", "x" * 70 + ".org", "http://a", "a:80"])
def test_a_name_that_no_browser_could_send_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--name must be a host"):
        host_name(text)
