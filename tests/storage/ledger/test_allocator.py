"""The embedded Valkey runs with mimalloc where that loads, and without it where it does not or is not there."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import redis

from protocol.errors import LedgerError
from storage.ledger import allocator
from storage.ledger.embedded import EmbeddedValkey
from storage.ledger.server_binary import server_binary


def snapshot(pid: int) -> bool:
    return allocator.LIBRARY in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    """What a process tried, it does not try again; these tests are of several minds."""
    allocator._loads.cache_clear()
    yield
    allocator._loads.cache_clear()


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of every trial."""
    commands: list[list[str]] = []
    run = subprocess.run

    def noted(command: list[str], **more: Any) -> object:
        commands.append(command)
        return run(command, **more)

    monkeypatch.setattr("storage.ledger.allocator.subprocess.run", noted)
    return commands


@pytest.fixture
def loads(untried: None) -> None:
    """For what is true only where the allocator loads; `scripts/test` sees to that, where it may install."""
    preloaded = allocator.library()
    assert preloaded is not None
    complaint = allocator._complaint(server_binary(), preloaded)
    if complaint is not None:
        assert allocator.MISSING_LIBRARY.search(complaint), complaint
        packages = " ".join(allocator.BROUGHT_BY.values())
        pytest.skip(f"mimalloc does not load here, and this test needs it: apt-get install {packages}")


def needing(library: str, folder: Path) -> Path:
    """The allocator, as it is on a system that lacks a library: the same file, which wants another name of that length
    than it has."""
    there = allocator.library()
    assert there is not None
    wanted, lacking = b"\0libatomic.so.1\0", b"\0" + library.encode() + b"\0"
    assert len(wanted) == len(lacking)
    before = there.read_bytes()
    assert wanted in before
    path = folder / allocator.LIBRARY
    path.write_bytes(before.replace(wanted, lacking))
    return path


@pytest.mark.usefixtures("loads")
def test_the_embedded_server_runs_with_mimalloc(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always") as server:
        assert server.pid is not None
        assert snapshot(server.pid)


def test_where_it_is_not_installed_the_server_runs_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(allocator, "distribution", missing)
    server = EmbeddedValkey(tmp_path / "ledger", "always")
    with server:
        assert server.pid is not None
        assert not snapshot(server.pid)
        assert redis.Redis.from_url(server.start()).ping()


@pytest.mark.usefixtures("loads")
def test_what_is_preloaded_anyway_is_preloaded_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/lib/one.so")
    first, second = allocator.environment(server_binary())["LD_PRELOAD"].split(":")
    assert (Path(first), second) == (allocator.library(), "/lib/one.so")


def test_a_path_that_cannot_be_preloaded_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "SEPARATORS", frozenset("/"))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert allocator.library() is None
    assert "LD_PRELOAD" not in allocator.environment(server_binary())


def test_where_it_lacks_a_library_the_server_runs_without_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, spawned: list[list[str]]
) -> None:
    lacking = needing("libnowhere.so.", tmp_path)
    monkeypatch.setattr(allocator, "library", lambda: lacking)
    caplog.set_level(logging.INFO)
    for _ in range(2):
        with EmbeddedValkey(tmp_path / "ledger", "always") as server:
            assert server.pid is not None
            assert not snapshot(server.pid)
    (said,) = [record for record in caplog.records if "does without mimalloc" in record.message]
    assert "libnowhere.so." in said.__dict__["fields"]["why"]
    assert len(spawned) == 1, "it was tried more than once"


def test_the_package_that_brings_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = needing("libnowhere.so.", tmp_path)
    monkeypatch.setattr(allocator, "library", lambda: lacking)
    monkeypatch.setattr(allocator, "BROUGHT_BY", {"libnowhere.so.": "libnowhere1"})
    caplog.set_level(logging.INFO)
    assert "LD_PRELOAD" not in allocator.environment(server_binary())
    (said,) = caplog.records
    assert said.__dict__["fields"]["why"].endswith("apt-get install libnowhere1")


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF\x02\x01\x01" + bytes(57)])
def test_a_file_that_is_no_library_is_done_without(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / allocator.LIBRARY
    broken.write_bytes(content)
    monkeypatch.setattr(allocator, "library", lambda: broken)
    assert allocator.environment(server_binary()) == dict(os.environ)


def test_an_allocator_under_which_the_server_says_nothing_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "server"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(allocator, "TRIAL_TIMEOUT_S", 0.2)
    assert allocator.environment(stuck) == dict(os.environ)


def test_a_server_that_may_not_run_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for trial in (allocator.library, lambda: None):  # with a trial of the allocator, and without
        monkeypatch.setattr(allocator, "library", trial)
        program = tmp_path / "valkey-server"
        program.write_bytes(server_binary().read_bytes()[:64])
        monkeypatch.setattr("storage.ledger.embedded.server_binary", lambda program=program: program)
        with pytest.raises(LedgerError, match=r"Permission denied.*name a server with --redis URL"):
            EmbeddedValkey(tmp_path / "ledger", "always").start()
