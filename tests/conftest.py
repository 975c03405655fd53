"""The servers that the tests talk to. Each is a real process that ends with the tests."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from storage.ledger.embedded import EmbeddedValkey
from tests.programs import program
from tests.waiting import until

TIMEOUT_S = 60.0

# What these tests judge is never how long an example takes: a machine may be busy with others.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("untimed"), max_examples=20)
settings.load_profile("untimed")

# Under nohup this process goes on when its terminal closes, and the commands that it starts hear of that all the same.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take long come first: where two processes share the tests, neither is left with a long one alone."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_report_header() -> str:
    server = shutil.which("redis-server")
    version = (
        subprocess.run([server, "--version"], capture_output=True, text=True).stdout.split()[2] if server else "none"
    )
    return f"servers: embedded Valkey for every test that needs a ledger, redis {version} beside it ({sys.executable})"


def emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        client.script_flush()
    return url


@pytest.fixture(scope="session")
def valkey_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey"), "everysec") as server:
        yield server


@pytest.fixture
def valkey(valkey_process: EmbeddedValkey) -> str:
    """The URL of an embedded Valkey that holds nothing. One that an earlier test killed is there again."""
    return emptied(valkey_process.start())


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = program("redis-server", "redis-server")
    folder: Path = tmp_path_factory.mktemp("redis")
    options = {"port": "0", "unixsocket": "redis.sock", "dir": str(folder), "save": "", "appendonly": "yes"}
    command = [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]
    with (folder / "redis.log").open("wb") as words:
        process = subprocess.Popen(command, cwd=folder, stdout=words, stderr=words)
    try:
        with redis.Redis(unix_socket_path=str(folder / "redis.sock")) as client:
            until(client.ping, TIMEOUT_S, expecting=redis.ConnectionError)
        yield f"unix://{folder / 'redis.sock'}"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


@pytest.fixture
def redis_server(redis_process: str) -> str:
    """The URL of Debian's Redis, which holds nothing."""
    return emptied(redis_process)
