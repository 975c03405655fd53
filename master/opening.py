"""Opening a crawl: its dataset, and its ledger on a server of its own or on one that the user named."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from protocol.errors import LedgerError, UsageError
from protocol.settings import Settings
from storage.files import FileDataset
from storage.ledger import Ledger, in_words
from storage.valkey import SOCKET, EmbeddedValkey

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
LOADING_LOOK_S = 0.2
SAID_AGAIN_S = 10.0
OLDEST_SERVER = (6, 2)
"""LPOP with a count came with Redis 6.2."""
WANTED_FSYNC = {"always": "always", "everysec": "everysec", "replica": "everysec"}


@dataclass(slots=True)
class Opened:
    """A crawl's ledger and dataset, and the server below the ledger if it is ours."""

    settings: Settings
    dataset: FileDataset
    ledger: Ledger
    server: EmbeddedValkey | None

    def wake_server(self) -> None:
        """Bring our own server up again if it died. Raises LedgerError when it does not come."""
        if self.server is not None and not self.server.alive():
            log.warning("the embedded Valkey is gone, and is started again")
            self.server.start()

    def close(self) -> None:
        """Let go of everything; our own server is stopped."""
        if self.server is not None:
            self.server.stop()


def open_crawl(settings: Settings) -> Opened:
    """Open what the settings name, for the one process that leads. Raises UsageError, LedgerError or DatasetError."""
    dataset = FileDataset(
        settings.output_directory, temporary=settings.temporary_directory, compress=settings.use_compression
    )
    dataset.check()
    if settings.redis:
        _wait_for_server(settings.redis, settings, begun=dataset.ledger_id(settings.crawl) is not None)
        return Opened(settings, dataset, ledger_at(settings.redis, settings), None)
    server = EmbeddedValkey(ledger_directory(settings), settings.durability)
    return Opened(settings, dataset, ledger_at(server.start(), settings), server)


def ledger_directory(settings: Settings) -> Path:
    """Where the embedded server of a crawl lives."""
    return settings.output_directory / ".tmatic" / "valkey" / settings.crawl


def ledger_at(url: str, settings: Settings) -> Ledger:
    """The ledger at a URL. No command is sent twice by the library: a commit that may have happened is our affair."""
    try:
        client = redis.Redis.from_url(url, socket_timeout=ANSWER_TIMEOUT_S, retry=Retry(NoBackoff(), 0))
    except ValueError as error:
        raise UsageError(f"--redis cannot be understood: {error}") from error
    return Ledger(client, settings.crawl, replicas=1 if settings.durability == "replica" else 0)


def _wait_for_server(url: str, settings: Settings, *, begun: bool) -> None:
    """Check a server, and wait for one that still reads its file. When the crawl has `begun` on it, a server that does
    not answer is waited for as well; for a new crawl that is a mistake in the URL."""
    said_at = float("-inf")
    while True:
        try:
            check_server(url, settings)
            return
        except LedgerError as error:
            away = isinstance(error.__cause__, redis.ConnectionError | redis.TimeoutError | OSError)
            if not isinstance(error.__cause__, redis.BusyLoadingError) and not (begun and away):
                raise
            if time.monotonic() - said_at > SAID_AGAIN_S:
                said_at = time.monotonic()
                log.warning(str(error))
            time.sleep(LOADING_LOOK_S)


def check_server(url: str, settings: Settings) -> None:
    """Refuse a server that would lose what it is given. Raises UsageError or LedgerError, in one sentence."""
    place = urlsplit(url).hostname or urlsplit(url).path
    with redis.Redis.from_url(
        url, socket_timeout=ANSWER_TIMEOUT_S, decode_responses=True, retry=Retry(NoBackoff(), 0)
    ) as client:
        try:
            info = client.info()
            said = client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")
        except redis.ResponseError as error:
            if "unknown command" in str(error).lower() or "NOPERM" in str(error):
                log.warning("the ledger's server does not show its configuration: its durability is not checked")
                return
            raise in_words(error) from error
        except (redis.RedisError, OSError) as error:
            raise in_words(error) from error
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        raise UsageError(f"the server at {place} is {version}; a ledger needs Redis 6.2 or newer, or Valkey")
    if said.get("maxmemory", "0") != "0" and said.get("maxmemory-policy") != "noeviction":
        raise UsageError(f"the server at {place} may evict what it holds: set its maxmemory-policy to noeviction")
    wanted = WANTED_FSYNC.get(settings.durability)
    if wanted is None:
        return
    if said.get("appendonly") != "yes":
        raise UsageError(
            f"the server at {place} keeps nothing on disk: set its appendonly to yes, or say --durability memory"
        )
    if wanted == "always" and said.get("appendfsync") != "always":
        raise UsageError(
            f"the server at {place} syncs {said.get('appendfsync')}: set its appendfsync to always, "
            "or say --durability everysec"
        )


def bind_ledger(opened: Opened, ledger_id: str, *, adopt: bool) -> str:
    """The id that the ledger of this dataset has, or is to get.

    Raises UsageError when the dataset belongs to another ledger than the one that was found.
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
def resting(settings: Settings) -> Iterator[Opened]:
    """A crawl opened by a tool: the dataset must be there. Beside a master that runs, its server is used as it is."""
    if not (settings.output_directory / ".tmatic").is_dir():
        raise UsageError(f"{settings.output_directory} holds no crawl: name its directory by --output")
    if not settings.redis and not ledger_directory(settings).is_dir():
        raise UsageError(f"{settings.output_directory} holds no crawl named {settings.crawl}: name it by --crawl")
    dataset = FileDataset(settings.output_directory, compress=settings.use_compression)
    if settings.redis:
        opened = Opened(settings, dataset, ledger_at(settings.redis, settings), None)
    else:
        server = EmbeddedValkey(ledger_directory(settings), settings.durability)
        try:
            opened = Opened(settings, dataset, ledger_at(server.start(), settings), server)
        except LedgerError:  # a master that runs owns it
            socket = ledger_directory(settings).resolve() / SOCKET
            if not socket.exists():
                raise
            opened = Opened(settings, dataset, ledger_at(f"unix://{socket}", settings), None)
    try:
        seen, known = opened.ledger.observe().ledger_id, dataset.ledger_id(settings.crawl)
        if seen != (known or ""):
            raise UsageError(
                f"{settings.output_directory} belongs to ledger {known or 'none'}, and this one is {seen or 'empty'}: "
                "name the right ones by --redis, --crawl and --output"
            )
        yield opened
    finally:
        opened.close()
