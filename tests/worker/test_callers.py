"""Whom the service counts is said once, kept, and never more than there are."""

from __future__ import annotations

import socket

import pytest

from protocol.errors import UsageError
from protocol.settings.configuration import configured
from protocol.settings.settings import Settings
from tests.worker.scripted import Reply, Scripted
from worker.client.allowance import RequestAllowance
from worker.sources.twitter import SHARED, Twitter


def counted(**settings: object) -> list[str]:
    """Whom a worker with these settings says that the service counts, each once."""
    return list(dict.fromkeys(caller.who for caller in Twitter(Settings(**settings)).callers()))  # type: ignore[arg-type]


def test_workers_of_whom_nothing_is_said_are_one_caller_whatever_their_hostnames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    callers = set()
    for name in ("one", "two"):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        callers.update(counted())
    assert callers == {SHARED}


def test_a_hostname_that_changes_between_two_leases_changes_nothing(
    service: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers(Reply())
    twitter = Twitter(Settings(base_url=service.url))
    said = twitter.callers()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert twitter.callers() == said
    assert twitter.reader(said[0].who, RequestAllowance(1), lambda told: None).posts("12", "", "").records == ()


def test_a_caller_that_is_named_has_a_budget_of_its_own_and_calls_from_every_address() -> None:
    assert counted(caller="berlin") == ["caller:berlin"]
    assert counted(caller="berlin", bind_ip=("127.0.0.2", "127.0.0.3")) == ["caller:berlin"]


@pytest.mark.parametrize("settings", [{"bearer_token": "s3cret"}, {"proxy": ("http://p.example:3128",)}])
def test_a_name_gives_no_second_budget_of_a_credential_or_a_proxy(
    settings: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert counted(**settings, caller="berlin") == counted(**settings, caller="paris") == counted(**settings)
    assert "--caller paris gives no budget of its own: the service counts" in caplog.text


def test_an_address_written_in_two_ways_is_one_caller() -> None:
    assert counted(bind_ip=("127.2", "127.0.0.2", "127.0.0.3")) == ["address:127.0.0.2", "address:127.0.0.3"]


def test_a_proxy_written_in_two_ways_is_one_caller() -> None:
    assert counted(proxy=("http://P.Example:3128",)) == counted(proxy=("http://p.example:3128",))


@pytest.mark.parametrize("name", ["two words", "a:b", "-a", "a" * 65, "ä"])
def test_a_name_that_the_wire_or_a_command_line_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"^--caller must be a name of at most 64 letters"):
        configured({"caller": name}, environment={})
