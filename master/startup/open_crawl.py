"""Opening a crawl: its dataset, and its ledger on the embedded server or on one that the user named."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from protocol.errors import LedgerError, UsageError
from protocol.repeated_warnings import RepeatedWarnings
from protocol.settings.settings import Settings
from storage.dataset.interface import Dataset
from storage.dataset.open import open_dataset, scheme_of, url_of
from storage.ledger.embedded import EmbeddedValkey, OwnedError
from storage.ledger.ledger import Ledger, in_words
from storage.ledger.sentinels import primary_of
from storage.ledger.socket_path import url_beside
from storage.ledger.url import SentinelAddress, place_of, require_server, sentinel_address

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
PAIR_TIMEOUT_S = 2.0
"""How long a master of a pair waits for an answer: after that the other one leads anyway."""
WATCH_TIMEOUT_S = 0.5
"""How long a master of a pair waits when it reads the lead."""
CONNECT_TIMEOUT_S = 2.0
MAX_REPLICAS = 16
REPLICA_TIMEOUT_S = 0.5
"""The time-out for reading a replica's configuration, for which the ledger must not wait."""
LOADING_LOOK_S = 0.2
OLDEST_SERVER = (6, 2)
"""LPOP with a count came with Redis 6.2."""
WANTED_FSYNC = {"always": "always", "everysec": "everysec", "replica": "everysec"}


@dataclass(slots=True)
class OpenCrawl:
    """A crawl's ledger and dataset, and the ledger's server if it is embedded. `watched` is the same ledger over a
    connection with a short time-out, for reading the lead."""

    settings: Settings
    dataset: Dataset
    ledger: Ledger
    server: EmbeddedValkey | None
    watched: Ledger
    url: str = ""
    complaints: RepeatedWarnings = field(default_factory=RepeatedWarnings)

    def reading(self) -> Ledger:
        """The same ledger over a connection of its own, for callers that only read."""
        return ledger_at(self.url, self.settings)

    def wake_server(self) -> None:
        """Restart the embedded server if it died. Raises LedgerError when that fails."""
        if self.server is not None and not self.server.alive():
            words = "the embedded Valkey is gone, and is started again"
            if self.complaints.is_news(time.monotonic(), words):
                log.warning(words)
            self.server.start()


def server_for(settings: Settings) -> EmbeddedValkey | None:
    """The embedded server of a crawl, not started yet; None where the user named another. The caller arranges for its
    stop before starting it. Raises UsageError."""
    if settings.redis:
        return None
    return EmbeddedValkey(ledger_directory(settings), settings.durability, shared=bool(settings.ha))


def open_crawl(settings: Settings, server: EmbeddedValkey | None) -> OpenCrawl:
    """Open the crawl of the settings, for the one process that leads, on `server_for` them. In any case the caller
    stops the server. Raises UsageError, LedgerError or DatasetError."""
    dataset = open_dataset(settings)
    dataset.check()
    if server is None:
        url = settings.redis
        _wait_for_server(url, settings, begun=dataset.ledger_id(settings.crawl) is not None)
    else:
        url = server.start()
    if not settings.ha:
        ledger = ledger_at(url, settings)
        return OpenCrawl(settings, dataset, ledger, server, ledger, url)
    ledger = ledger_at(url, settings, timeout_s=PAIR_TIMEOUT_S)
    return OpenCrawl(settings, dataset, ledger, server, ledger_at(url, settings, timeout_s=WATCH_TIMEOUT_S), url)


def _at_rest(settings: Settings, dataset: Dataset, url: str, server: EmbeddedValkey | None) -> OpenCrawl:
    ledger = ledger_at(url, settings)
    return OpenCrawl(settings, dataset, ledger, server, ledger, url)


def ledger_directory(settings: Settings) -> Path:
    """The directory of a crawl's embedded server. Raises UsageError for a dataset that is not in a directory."""
    if scheme_of(settings.output_directory) is not None:
        raise UsageError(f"the ledger of {url_of(settings.output_directory)} needs a server: name it by --redis")
    return settings.output_directory / ".tmatic" / "valkey" / settings.crawl


def ledger_at(url: str, settings: Settings, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Ledger:
    """The ledger at a URL, over connections of its own, with `timeout_s` for each answer. A short one is for callers
    that only observe: a commit may take longer without being at fault. Raises UsageError."""
    client = client_at(url, timeout_s=timeout_s)
    return Ledger(client, settings.crawl, replicas=1 if settings.durability == "replica" else 0)


def client_at(url: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **more: Any) -> redis.Redis:
    """A client of the server at a URL; with sentinel://, of the primary. The library retries no command: the caller
    decides about a commit that may have happened. Raises UsageError."""
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, timeout_s),
        "retry": Retry(NoBackoff(), 0),
        **more,
    }
    address = sentinel_address(url)
    if address is not None:
        return primary_of(address, **options)
    require_server(url)
    try:
        return redis.Redis.from_url(url, **options)
    except ValueError as error:
        raise UsageError(f"--redis cannot be understood: {error}") from error


def _wait_for_server(url: str, settings: Settings, *, begun: bool) -> None:
    """Check a server, and wait for one that is still loading. When the crawl has `begun` on it, this also waits for a
    server that does not answer; for a new crawl that is a wrong URL."""
    complaints = RepeatedWarnings()
    while True:
        try:
            check_server(url, settings, begun=begun)
            return
        except LedgerError as error:
            away = isinstance(error.__cause__, redis.ConnectionError | redis.TimeoutError | OSError)
            if not isinstance(error.__cause__, redis.BusyLoadingError) and not (begun and away):
                raise
            if complaints.is_news(time.monotonic(), str(error)):
                log.warning(str(error))
            time.sleep(LOADING_LOOK_S)


def check_server(url: str, settings: Settings, *, begun: bool = False) -> None:
    """Refuse a server that would lose data. Raises UsageError or LedgerError, in one sentence.

    Where commits wait for a replica, a new crawl is refused without one. One that has `begun` is not: a failover leaves
    a primary without replicas for a while, and the commits wait for one by themselves.
    """
    with client_at(url, decode_responses=True) as client:
        place = place_of(url)
        info: dict[str, Any] | None = _shown(client.info)
        said = _shown(lambda: _configuration(client))
        if info is None or said is None:
            what = "how it is" if info is None else "its configuration"
            log.warning(f"the ledger's server does not show {what}: its durability is not checked")
        version = str(info["redis_version"]) if info is not None else ""
        if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            raise UsageError(f"the server at {place} is {version}; a ledger needs Redis 6.2 or newer, or Valkey")
        mistake = None if said is None else _mistake(said, settings)
        if mistake is not None:
            raise UsageError(f"the server at {place} {mistake}")
        if info is None:
            return
        if settings.durability == "replica" and not info.get("connected_slaves") and not begun:
            raise UsageError(
                f"the server at {place} has no replica, and --durability replica waits for one: start one, "
                "or say --durability always"
            )
    address = sentinel_address(url)
    if address is not None and said is not None and settings.durability != "memory":
        replicas = [info[f"slave{number}"] for number in range(MAX_REPLICAS) if f"slave{number}" in info]
        _warn_of_failovers(address, said, replicas, settings)


def _shown(ask: Callable[[], Any]) -> Any:
    """What a server reports about itself; None when this user may not read it. Raises LedgerError."""
    try:
        return ask()
    except (redis.RedisError, OSError) as error:
        unknown = isinstance(error, redis.ResponseError) and "unknown command" in str(error).lower()
        if unknown or isinstance(error, NoPermissionError):
            return None
        raise in_words(error) from error


def _configuration(client: redis.Redis) -> dict[str, str]:
    said: Any = client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "min-replicas-to-write")
    return dict(said)


def _mistake(said: dict[str, str], settings: Settings) -> str | None:
    """The error message for a server whose configuration would lose data."""
    if said.get("maxmemory", "0") != "0" and said.get("maxmemory-policy") != "noeviction":
        return "may evict what it holds: set its maxmemory-policy to noeviction"
    wanted = WANTED_FSYNC.get(settings.durability)
    if wanted is not None and said.get("appendonly") != "yes":
        return "keeps nothing on disk: set its appendonly to yes, or say --durability memory"
    if wanted == "always" and said.get("appendfsync") != "always":
        return f"syncs {said.get('appendfsync')}: set its appendfsync to always, or say --durability everysec"
    return None


def _warn_of_failovers(
    address: SentinelAddress, said: dict[str, str], replicas: list[dict[str, Any]], settings: Settings
) -> None:
    """Warn of what will fail after a failover. It works until then, so it is no reason to refuse."""
    if settings.durability != "replica" and said.get("min-replicas-to-write", "0") == "0":
        log.warning(
            "a primary that is cut off from the others goes on to take commits, which are lost when it is back: "
            "set min-replicas-to-write to 1 on every server, or say --durability replica"
        )
    for replica in replicas:
        place = f"{replica['ip']}:{replica['port']}"
        with (
            contextlib.suppress(redis.RedisError, OSError),
            redis.Redis(
                replica["ip"],
                int(replica["port"]),
                username=address.username,
                password=address.password,
                socket_timeout=REPLICA_TIMEOUT_S,
                socket_connect_timeout=REPLICA_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                decode_responses=True,
            ) as client,
        ):
            mistake = _mistake(_configuration(client), settings)
            if mistake is not None:
                log.warning(f"the replica at {place} {mistake}; after a failover this master would not start on it")


def bind_ledger(opened: OpenCrawl, ledger_id: str, *, adopt: bool) -> str:
    """The id that the ledger of this dataset has, or will get.

    Raises UsageError when the dataset belongs to a ledger other than the one found.
    """
    known = opened.dataset.ledger_id(opened.settings.crawl)
    if ledger_id:
        if known is None and opened.ledger.remembered() and not adopt:
            raise UsageError(
                f"the ledger {ledger_id} has served another dataset than {opened.settings.output_directory}: "
                "name the right one by --output, or say --adopt to go on with this one"
            )
        if known not in (None, ledger_id) and not adopt:
            raise UsageError(
                f"{opened.settings.output_directory} belongs to ledger {known}, and this one is {ledger_id}: "
                "name the right server by --redis, or say --adopt to go on with this one"
            )
        return ledger_id
    if known is not None and not adopt:
        raise UsageError(
            f"{opened.settings.output_directory} belongs to ledger {known}, and this one is empty: "
            "name the right server by --redis, or say --adopt to begin a new one"
        )
    return secrets.token_hex(8)


@contextlib.contextmanager
def resting(settings: Settings) -> Iterator[OpenCrawl]:
    """A crawl opened by a tool: the dataset must exist. While a master runs, its server is used as it is."""
    dataset = open_dataset(settings)
    if not dataset.is_there:
        raise UsageError(f"{settings.output_directory} holds no crawl: name its directory by --output")
    if not settings.redis and not ledger_directory(settings).is_dir():
        raise UsageError(f"{settings.output_directory} holds no crawl named {settings.crawl}: name it by --crawl")
    server = None if settings.redis else EmbeddedValkey(ledger_directory(settings), settings.durability)
    try:
        if server is None:
            opened = _at_rest(settings, dataset, settings.redis, None)
        else:
            try:
                opened = _at_rest(settings, dataset, server.start(), server)
            except OwnedError:  # a running master
                opened = _at_rest(settings, dataset, url_beside(ledger_directory(settings)), None)
        seen, known = opened.ledger.observe().ledger_id, dataset.ledger_id(settings.crawl)
        if seen != (known or ""):
            raise UsageError(
                f"{settings.output_directory} belongs to ledger {known or 'none'}, and this one is {seen or 'empty'}: "
                "name the right ones by --redis, --crawl and --output"
            )
        yield opened
    finally:
        if server is not None:
            server.stop()
