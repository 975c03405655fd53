"""An IPv6 address may be said with brackets or without, and is printed as a URL that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.configuration import configured
from protocol.errors import UsageError
from protocol.places import reached, written
from services.listening import host_name
from tests.crawl.running import audit, crawl, dataset, emulator


@pytest.mark.parametrize("said", ["[::1]", "::1"])
@pytest.mark.parametrize(("name", "kept"), [("host", "::1"), ("bind_ip", ("::1",))])
def test_a_setting_is_kept_without_brackets(said: str, name: str, kept: object) -> None:
    assert getattr(configured({name: said}, environment={}), name) == kept


@pytest.mark.parametrize("said", ["[::1", "::1]", "[127.0.0.1]", "a b", "http://h", "[[::1]]"])
@pytest.mark.parametrize("name", ["host", "bind_ip"])
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
