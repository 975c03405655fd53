"""A service of Redis Sentinel of a test's own: a primary, its replicas and three sentinels, each a real process.

Servers and sentinels talk over loopback with passwords, so that a primary can be cut off from everybody but the
masters: `part_primary` takes the sentinels' password away from it.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.ports import free_port
from tests.programs import program
from tests.storage.ledger.servers import TIMEOUT_S, OwnRedis
from tests.waiting import until

NAME = "crawls"
PASSWORD, WATCH = "of the masters", "watch"
DOWN_AFTER_MS = 500
QUORUM = 2
DISTURBED = redis.ConnectionError
"""What a question meets when a sentinel sets a server anew: it closes the connections of everybody."""
FAILOVER_TIMEOUT_MS = 3000
"""After how long an election that was split is held again: twice this."""


@dataclass
class Server:
    """One of the servers, at the port that it keeps."""

    own: OwnRedis
    port: int

    def client(self) -> redis.Redis:
        """Past the sentinels: over the server's Unix socket."""
        return self.own.client(password=PASSWORD)

    def start(self, primary_port: int | None = None) -> None:
        """As the primary, or as a replica of another."""
        self.own.start()
        with self.own.client() as client:
            client.acl_setuser(
                WATCH, enabled=True, passwords=[f"+{WATCH}"], keys="*", channels="*", categories=["+@all"]
            )
            client.config_set("masterauth", PASSWORD)
            if primary_port is not None:
                client.replicaof("127.0.0.1", primary_port)
            client.config_set("requirepass", PASSWORD)

    def signal(self, number: int) -> None:
        assert self.own.process is not None
        self.own.process.send_signal(number)

    def role(self) -> str:
        with self.client() as client:
            return str(client.info("replication")["role"])

    def follows(self, primary: Server) -> bool:
        """Whether it is a replica of that one now, and has all that it has."""
        with self.client() as client:
            said = client.info("replication")
        return (said.get("master_port"), said.get("master_link_status")) == (primary.port, "up")


@dataclass
class Watcher:
    """One sentinel. Its folder holds the file in which it keeps what it knows."""

    folder: Path
    port: int
    password: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def configure(self, primary_port: int, down_after_ms: int) -> None:
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {NAME} 127.0.0.1 {primary_port} {QUORUM}",
            f"sentinel auth-user {NAME} {WATCH}",
            f"sentinel auth-pass {NAME} {WATCH}",
            f"sentinel down-after-milliseconds {NAME} {down_after_ms}",
            f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}",
        )
        own = (f'requirepass "{self.password}"',) if self.password else ()
        (self.folder / "sentinel.conf").write_text("\n".join((*lines, *own)) + "\n")

    def start(self) -> None:
        binary = program("redis-server", "redis-server")
        with (self.folder / "sentinel.log").open("ab") as words:
            self.process = subprocess.Popen(
                [binary, "sentinel.conf", "--sentinel"], cwd=self.folder, stdout=words, stderr=words
            )
        with self.client() as client:
            until(client.ping, TIMEOUT_S, expecting=redis.ConnectionError)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(TIMEOUT_S)
            self.process = None

    def client(self) -> redis.Redis:
        return redis.Redis(
            "127.0.0.1",
            self.port,
            password=self.password,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def knows(self) -> dict[str, Any]:
        """What it knows of the service."""
        with self.client() as client:
            state: Any = client.sentinel_master(NAME)
        return dict(state)

    def names(self) -> int:
        """The port of the primary that it names."""
        with self.client() as client:
            address: Any = client.sentinel_get_master_addr_by_name(NAME)
        return int(address[1])

    def agrees(self, replicas: int, sentinels: int) -> bool:
        """Whether it knows all the others, and that all is well."""
        state = self.knows()
        known = (state["num-slaves"], state["num-other-sentinels"])
        return known == (replicas, sentinels - 1) and not state["is_sdown"] and not state["is_odown"]


@dataclass
class Service:
    """What a master is pointed at by a sentinel URL."""

    servers: list[Server]
    watchers: list[Watcher]
    was_primary: Server | None = field(default=None)

    @property
    def url(self) -> str:
        return self.url_of(*self.watchers)

    @property
    def replicas(self) -> list[Server]:
        """The servers that are not the primary."""
        primary = self.primary
        return [server for server in self.servers if server is not primary]

    def url_of(self, *watchers: Watcher) -> str:
        """The URL that names these sentinels, in this order."""
        places = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        return f"sentinel://:{PASSWORD.replace(' ', '%20')}@{places}/{NAME}"

    @property
    def primary(self) -> Server:
        """The one that most sentinels name."""
        named = [watcher.names() for watcher in self.watchers if watcher.process is not None]
        port = max(named, key=named.count)
        return next(server for server in self.servers if server.port == port)

    def kill_primary(self) -> Server:
        """kill -9. Returns who that was."""
        self.was_primary = self.primary
        self.was_primary.own.kill()
        return self.was_primary

    def stop_primary(self) -> Server:
        """It keeps its connections, and answers nobody, until `resume`."""
        self.was_primary = self.primary
        self.was_primary.signal(signal.SIGSTOP)
        return self.was_primary

    def resume(self) -> None:
        assert self.was_primary is not None
        self.was_primary.signal(signal.SIGCONT)

    def part_primary(self) -> Server:
        """No sentinel reaches it any more. Who is connected to it, and knows the masters' password, notices nothing."""
        self.was_primary = self.primary
        with self.was_primary.client() as client:
            client.acl_setuser(WATCH, enabled=False)
            client.execute_command("CLIENT", "KILL", "USER", WATCH)
        return self.was_primary

    def restart_as_replica(self) -> None:
        """The one that was killed comes back, and follows the new primary."""
        assert self.was_primary is not None
        primary = self.primary
        self.was_primary.start(primary.port)
        until(
            lambda: self.was_primary is not None and self.was_primary.follows(primary), TIMEOUT_S, expecting=DISTURBED
        )

    def until_failed_over(self) -> Server:
        """Until all sentinels name the same other primary, and it is one. Returns it."""

        def new() -> Server | None:
            ports = {watcher.names() for watcher in self.watchers if watcher.process is not None}
            primary = self.primary
            done = len(ports) == 1 and primary is not self.was_primary and primary.role() == "master"
            return primary if done else None

        primary = until(new, TIMEOUT_S, expecting=DISTURBED)
        assert primary is not None
        return primary

    def until_agreed(self) -> None:
        """Until every sentinel knows every other, and every replica has what the primary has."""
        primary, replicas = self.primary, self.replicas
        until(lambda: all(server.follows(primary) for server in replicas), TIMEOUT_S, expecting=DISTURBED)
        for watcher in self.watchers:
            until(lambda watcher=watcher: watcher.agrees(len(replicas), len(self.watchers)), TIMEOUT_S)  # type: ignore[misc]


@contextmanager
def own_server(folder: Path, options: dict[str, str], primary_port: int | None = None) -> Iterator[Server]:
    """A server alone, that could be a primary or a replica."""
    folder.mkdir(parents=True)
    port = free_port()
    said = {"port": str(port), "bind": "127.0.0.1", "repl-diskless-sync-delay": "0", **options}
    server = Server(OwnRedis(folder, said), port)
    try:
        server.start(primary_port)
        yield server
    finally:
        if server.own.process is not None:  # killed: a server that is asked to leave waits for its replicas first
            server.own.kill()


@contextmanager
def own_watcher(
    folder: Path, primary_port: int, *, down_after_ms: int = DOWN_AFTER_MS, password: str | None = None
) -> Iterator[Watcher]:
    """A sentinel of that primary. With a password of its own it is alone: other sentinels do not know that."""
    folder.mkdir(parents=True)
    watcher = Watcher(folder, free_port(), password)
    watcher.configure(primary_port, down_after_ms)
    try:
        watcher.start()
        yield watcher
    finally:
        watcher.stop()


@contextmanager
def own_service(
    folder: Path, *, replicas: int = 1, down_after_ms: int = DOWN_AFTER_MS, **options: str
) -> Iterator[Service]:
    """A service whose sentinels agree. `options` are those of its servers."""
    with ExitStack() as running:
        primary = running.enter_context(own_server(folder / "server0", options))
        servers = [primary]
        for number in range(1, replicas + 1):
            servers.append(running.enter_context(own_server(folder / f"server{number}", options, primary.port)))
        watchers = [
            running.enter_context(own_watcher(folder / f"sentinel{number}", primary.port, down_after_ms=down_after_ms))
            for number in range(3)
        ]
        service = Service(servers, watchers)
        service.until_agreed()
        yield service
