"""The embedded Valkey runs with mimalloc where that is installed, and without it where it is not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import redis

from storage import allocator
from storage.valkey import EmbeddedValkey


def loaded(pid: int) -> bool:
    return allocator.LIBRARY in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def test_the_embedded_server_runs_with_mimalloc(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "ledger", "always") as server:
        assert server.pid is not None
        assert loaded(server.pid)


def test_where_it_is_not_installed_the_server_runs_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(allocator, "distribution", missing)
    server = EmbeddedValkey(tmp_path / "ledger", "always")
    with server:
        assert server.pid is not None
        assert not loaded(server.pid)
        assert redis.Redis.from_url(server.start()).ping()


def test_what_is_preloaded_anyway_is_preloaded_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/lib/one.so")
    first, second = allocator.environment()["LD_PRELOAD"].split(":")
    assert (Path(first), second) == (allocator.library(), "/lib/one.so")


def test_a_path_that_cannot_be_preloaded_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "SEPARATORS", frozenset("/"))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert allocator.library() is None
    assert "LD_PRELOAD" not in allocator.environment()
