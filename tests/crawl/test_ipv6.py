"""An IPv6 address may be said with brackets or without, and is printed as a URL that works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from protocol.errors import UsageError
from protocol.settings.configuration import configured
from protocol.settings.settings import Settings
from protocol.transport.endpoints import reached, written
from services.listening import host_name
from services.stats.command import carbon_at
from tests.crawl.running import audit, crawl, dataset, emulator
from tests.waiting import until


@pytest.mark.parametrize("said", ["[::1]", "::1"])
@pytest.mark.parametrize(("name", "kept"), [("host", "::1"), ("bind_ip", ("::1",)), ("carbon_server", "::1")])
def test_a_setting_is_kept_without_brackets(said: str, name: str, kept: object) -> None:
    assert getattr(configured({name: said}, environment={}), name) == kept


@pytest.mark.parametrize("said", ["[::1", "::1]", "[127.0.0.1]", "a b", "http://h", "[[::1]]"])
@pytest.mark.parametrize("name", ["host", "bind_ip", "carbon_server"])
def test_what_is_no_host_is_refused(said: str, name: str) -> None:
    with pytest.raises(UsageError, match="must be "):
        configured({name: said}, environment={})


@pytest.mark.parametrize(
    ("host", "place"),
    [("[::1]", "[::1]:80"), ("::1", "[::1]:80"), ("[::]", "[::1]:80"), ("::", "[::1]:80"), ("*", "127.0.0.1:80"),
     ("0.0.0.0", "127.0.0.1:80"), ("h", "h:80")],
)  # fmt: skip
def test_a_place_has_brackets_once(host: str, place: str) -> None:
    assert reached(host, 80) == place


@pytest.mark.parametrize("said", ["[::1]:2003", "[::1]", "::1"])
def test_carbon_is_named_with_brackets_or_without(said: str) -> None:
    assert str(carbon_at(Settings(), said)) == "[::1]:2003"


@pytest.mark.parametrize("name", ["master", "peer"])
def test_a_place_without_brackets_is_refused_with_the_way_to_write_it(name: str) -> None:
    assert getattr(configured({name: "[::1]:8000"}, environment={}), name) in ("[::1]:8000", ("[::1]:8000",))
    with pytest.raises(UsageError, match="in brackets"):
        configured({name: "::1:8000"}, environment={})


@pytest.mark.parametrize("url", ["base_url", "graphite_url", "elasticsearch_url", "redis"])
def test_a_url_takes_an_address_in_brackets(url: str) -> None:
    said = f"{'redis' if url == 'redis' else 'http'}://[::1]:8080"
    assert getattr(configured({url: said}, environment={}), url) == said


@pytest.mark.slow
@pytest.mark.parametrize("said", ["[::1]", "::1"])
@pytest.mark.parametrize(
    "command",
    [("tmatic-lookup", "--lookup-port"), ("tmatic-monitor", "--monitor-port")],
    ids=["lookup", "monitor"],
)
def test_a_page_is_served_at_the_url_that_its_service_prints(
    command: tuple[str, str], said: str, tmp_path: Path
) -> None:
    name, port = command
    words = [str(Path(sys.executable).with_name(name)), "--listen", said, port, "0"]
    log = tmp_path / "log"
    with (
        log.open("wb") as written_to,
        subprocess.Popen(words, cwd=tmp_path, stdout=written_to, stderr=written_to) as service,
    ):
        try:
            url = until(lambda: re.findall(r"http://\[::1\]:\d+", log.read_text(encoding="utf-8")), 30)[0]
            assert requests.get(url, timeout=10).status_code == 200
        finally:
            service.terminate()


def test_a_name_of_a_service_is_kept_without_brackets() -> None:
    assert host_name("[2001:DB8::1]") == host_name("2001:db8::1") == "2001:db8::1"
    assert written("2001:db8::1", 8080) == "[2001:db8::1]:8080"


@pytest.mark.slow
def test_a_crawl_and_its_service_are_on_the_ipv6_address_of_this_machine(tmp_path: Path) -> None:
    targets = tmp_path / "targets.txt"
    targets.write_text("12\n")
    with emulator("--users", "100", "--seed", "3", "--host", "[::1]") as service:
        assert service.url.startswith("http://[::1]:")
        flags = ["-T", "--workers", "1", "--host", "[::1]", "--bind-ip", "[::1]", "--base-url", service.url]
        crawl(tmp_path / "data", str(targets), *flags, "--ha", within_s=60)
    assert list(dataset(tmp_path / "data")) == ["12.twt"]
    assert audit(tmp_path / "data", "--host", "[::1]")["clean"]
