"""The embedded Valkey: the ledger's server when the user names no other.

It is started from its wheel, on a Unix socket in a directory of its own, and writes everything to an append-only file
there. The rules:

- One owner per directory: the process that starts or adopts the server holds `owner.lock` as long as it lives. The
  masters of a pair hold it together.
- One server per directory: the server itself holds `server.lock`, inherited, as long as it lives. So two servers can
  never write one append-only file, whichever process was killed and however process ids were reused.
- The server outlives an owner that was killed. The next owner adopts it, with all its data.
- No TCP port is opened, and only the user can enter the directory.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from protocol.errors import LedgerError, UsageError
from protocol.logs import fields
from protocol.stopping import uncut
from storage.ledger import allocator
from storage.ledger.server_binary import server_binary
from storage.ledger.socket_path import SOCKET, short, url_of
from storage.locks import locked, take

log = logging.getLogger(__name__)

APPENDFSYNC: Final = {"always": "always", "everysec": "everysec", "memory": None}
"""The `appendfsync` of each durability; None: there is no append-only file."""

LOG: Final = "valkey.log"

SETTINGS: Final = {
    # Paths are relative to the directory: they need no quoting, and a relative socket is never too long to bind.
    "unixsocket": SOCKET,
    "unixsocketperm": "700",
    "port": "0",
    "logfile": LOG,
    "loglevel": "notice",
    "daemonize": "no",
    "save": "",
    # A record torn by a kill is cut off, and nothing before it.
    "aof-load-truncated": "yes",
    "set-max-intset-entries": "512",
}
"""The configuration of every embedded server, by the server's own option names."""

ANSWER_TIMEOUT_S: Final = 15.0
"""How long a server may take to answer at all. One that answers that it is loading is waited for without limit."""

STOP_TIMEOUT_S: Final = 15.0
"""How long a server may take to shut down; it waits up to 10 s itself for clients and replicas."""

MAX_STARTS: Final = 10
"""How often a server may be killed from outside while it starts."""

PAUSE_S: Final = 0.01

MAX_LOG_BYTES: Final = 1 << 20
"""Bytes; at the next start a longer log is rotated. One old log is kept."""


class OwnedError(LedgerError):
    """Another process owns the directory of an embedded server."""


class EmbeddedValkey:
    """A Valkey server in `directory`, which is made if it is missing and belongs to this server alone.

    `durability` is `always`, `everysec` or `memory`. Not thread-safe, except that one thread may stop for good
    what another starts.
    """

    def __init__(self, directory: Path, durability: str, *, shared: bool = False) -> None:
        """`shared` lets several processes, the masters of a pair, own the directory; the last to leave stops the
        server, and any of them restarts it. Raises UsageError for a durability that no embedded server has."""
        if durability not in APPENDFSYNC:
            raise UsageError(
                f"durability {durability!r} cannot be had from the embedded Valkey: choose one of "
                f"{', '.join(APPENDFSYNC)}, or name a server with --redis URL"
            )
        self.directory = directory.resolve()
        self.durability, self.shared = durability, shared
        self.pid: int | None = None
        """The process id of the server, while there is one."""
        self._child: subprocess.Popen[bytes] | None = None
        self._owner: BinaryIO | None = None
        self._last, self._closed = True, False
        self._making = threading.RLock()  # held while owning or starting; re-entrant for a signal handler
        self._socket = self.directory / SOCKET

    def start(self) -> str:
        """Start the server, or adopt a running one, and wait until it answers. Returns its URL.

        A second call returns the same URL, and restarts the server if it died.
        Raises OwnedError when another process owns the directory, LedgerError when the server dies, does not answer or
        was stopped.
        """
        with self._making:
            self._check_open()
            if self._owner is None:
                self._make_directory()
                self._owner = self._own()
        try:
            self._socket = short(self.directory) / SOCKET
            for _ in range(MAX_STARTS):
                if self.alive() or self._adopt() or self._spawn():
                    return self.url
            raise LedgerError(
                f"the embedded Valkey in {self.directory} was killed {MAX_STARTS} times at its start: is memory short?"
            )
        except redis.RedisError as error:
            self._give_up()
            raise LedgerError(f"the embedded Valkey in {self.directory} refuses: {error}") from error
        except BaseException:
            self._give_up()
            raise

    @property
    def url(self) -> str:
        """Where the server listens, from the first start to the stop; a restart does not change it."""
        return url_of(self._socket)

    def alive(self) -> bool:
        """Whether the server's process lives; one that is loading or stuck does."""
        if (child := self._child) is not None:
            if child.poll() is None:
                return True
            self._child = self.pid = None
        elif self.pid is not None:
            if self._is_held():
                return True
            self.pid = None
        return False

    def stop(self) -> None:
        """Shut the server down for good, with everything written, and wait for it. Then others may own the
        directory."""
        with self._making:
            self._closed = True
        self._end()

    def _end(self) -> None:
        self._last = self._is_last_owner()
        try:
            if self._last and self.alive():
                with suppress(redis.RedisError), self._client() as client:
                    client.shutdown(nosave=True)
                self._wait_for_end()
        finally:
            self._disown()

    def dismiss(self) -> None:
        """Make the server write its data and shut down, without waiting for it: for callers that have no time."""
        with self._making:
            self._closed = True
        if self.alive() and self.pid is not None and self._is_last_owner():
            os.kill(self.pid, signal.SIGTERM)

    def __enter__(self) -> EmbeddedValkey:
        self._closed = False
        try:
            self.start()
            return self
        except BaseException:  # a signal after the server came up
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)
        except OSError as error:
            raise LedgerError(f"the ledger's directory {self.directory} cannot be used: {error.strerror}") from error
        if self.durability == "memory" and (self.directory / "appendonlydir").exists():
            raise UsageError(
                f"{self.directory} holds a ledger on disk, which durability memory would leave out: choose always or "
                "everysec, or another crawl"
            )

    def _is_last_owner(self) -> bool:
        """Whether no other process owns the directory. Of two that ask at once, the one answered later is the last:
        converting a shared lock into an exclusive one releases the shared one first."""
        if not self.shared or self._owner is None:
            return True
        with suppress(OSError):
            return take(self._owner.fileno())
        return False

    def _own(self) -> BinaryIO:
        path = self.directory / "owner.lock"
        lock = locked(path, "the ledger", shared=self.shared, failure=LedgerError)
        if lock is None:
            owner = path.read_bytes()[:20].decode(errors="replace").strip() or "that does not say its number"
            raise OwnedError(f"the ledger in {self.directory} is in use by process {owner}: stop that one first")
        if not self.shared:
            lock.truncate(0)
        lock.write(b"%d\n" % os.getpid())
        lock.flush()
        return lock

    def _give_up(self) -> None:
        """A failed start leaves no server behind: neither a new nor an adopted one."""
        if self._closed:
            return  # the stopping thread does the rest
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._disown()
        else:
            self._end()

    def _disown(self) -> None:
        self._child = self.pid = None
        if self._owner is not None:
            self._owner.close()
            self._owner = None
        if self._socket.parent != self.directory:
            with suppress(OSError):
                if self._last:  # another owner reaches the server by the same link
                    self._socket.parent.unlink()
                    self._socket.parent.parent.rmdir()
            self._socket = self.directory / SOCKET

    def _adopt(self) -> bool:
        """Take over the server that holds the lock, which may be loading or shutting down. False if there is none."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        # A server that was killed may leave a child that holds the lock until it notices.
        while self._is_held():
            try:
                with self._client() as client:
                    place = client.config_get("dir")["dir"]
                    if Path(place).resolve() != self.directory:
                        raise LedgerError(f"{self._socket} leads to a server of {place}: another one took the socket")
                    self.pid = int(client.info("server")["process_id"])
                if self._wait_until_ready():
                    self._set_durability()
                    log.info("adopted the embedded Valkey", extra=fields(pid=self.pid, directory=self.directory))
                    return True
            except (redis.ConnectionError, redis.TimeoutError):
                self.pid = None
            if time.monotonic() > deadline:
                raise LedgerError(
                    f"a Valkey server holds {self.directory} and does not answer: end it, then start again"
                )
            time.sleep(PAUSE_S)
        return False

    def _set_durability(self) -> None:
        """An adopted server may have been started with another durability."""
        policy = APPENDFSYNC[self.durability]
        if policy is None:
            return
        with self._client() as client:
            client.config_set("appendfsync", policy)
            if client.config_get("appendonly")["appendonly"] == "yes":
                return
            client.config_set("appendonly", "yes")
            while _first_file_is_being_written(client.info("persistence")):
                time.sleep(PAUSE_S)

    def _check_open(self) -> None:
        if self._closed:
            raise LedgerError(f"the embedded Valkey in {self.directory} was told to stop")

    def _is_held(self) -> bool:
        """Whether a server runs in the directory."""
        lock = self._server_lock()
        if lock is not None:
            lock.close()
        return lock is None

    def _server_lock(self) -> BinaryIO | None:
        return locked(self.directory / "server.lock", "the ledger's server", failure=LedgerError)

    def _spawn(self) -> bool:
        """Start a server, after making sure that there is none. False if it was killed before it could answer."""
        policy = APPENDFSYNC[self.durability]
        server_log = self.directory / LOG
        if server_log.exists() and server_log.stat().st_size > MAX_LOG_BYTES:
            server_log.replace(server_log.with_suffix(".log.old"))
        settings = {**SETTINGS, "appendonly": "no" if policy is None else "yes", "appendfsync": policy or "no"}
        lock = self._server_lock()
        if lock is None:
            return False
        with lock, server_log.open("ab") as words:
            logged = words.tell()
            binary = server_binary()
            try:
                flags = [word for name, value in settings.items() for word in (f"--{name}", value)]
                environment = allocator.environment(binary)
                with uncut(), self._making:
                    self._check_open()
                    self._child = child = subprocess.Popen(
                        [str(binary), *flags],
                        cwd=self.directory,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=words,
                        stderr=words,
                        pass_fds=[lock.fileno()],
                        # Ctrl-C in the terminal is for the owner, who stops the server when it is done with it.
                        start_new_session=True,
                    )
                    self.pid = child.pid
            except OSError as error:
                raise LedgerError(
                    f"the embedded Valkey cannot be run from {binary} ({error.strerror}): is that a place from which "
                    "programs may run, and this system one with glibc? Else name a server with --redis URL"
                ) from error
        if self._wait_until_ready():
            log.info("started the embedded Valkey", extra=fields(pid=self.pid, directory=self.directory))
            return True
        if child.returncode == -signal.SIGKILL:
            return False
        raise LedgerError(
            f"the embedded Valkey in {self.directory} ended at its start; its last words: "
            f"{_last_words(server_log, logged)}"
        )

    def _wait_until_ready(self) -> bool:
        """Wait until the server answers. False if it ended before."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        told = time.monotonic()
        with self._client() as client:
            while True:
                try:
                    client.ping()
                    return True
                except redis.ResponseError:
                    # It runs but refuses writes, for example on a full disk: the ledger handles that error.
                    return True
                except redis.BusyLoadingError:
                    deadline = time.monotonic() + ANSWER_TIMEOUT_S
                    if time.monotonic() - told > 5:
                        told = time.monotonic()
                        log.info("the embedded Valkey still reads its file", extra=fields(directory=self.directory))
                except (redis.ConnectionError, redis.TimeoutError):
                    if not self.alive():
                        return False
                    if time.monotonic() > deadline:
                        raise LedgerError(f"the embedded Valkey in {self.directory} does not answer") from None
                time.sleep(PAUSE_S)

    def _wait_for_end(self) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        killed = False
        while self.alive():
            if time.monotonic() > deadline:
                if killed or self.pid is None:
                    raise LedgerError(f"the embedded Valkey in {self.directory} does not end, though it was killed")
                log.warning("the embedded Valkey does not leave and is killed", extra=fields(pid=self.pid))
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                killed = True
                deadline = time.monotonic() + STOP_TIMEOUT_S
            time.sleep(PAUSE_S)

    def _client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self._socket),
            socket_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            # The output names folders, as raw bytes.
            encoding=sys.getfilesystemencoding(),
            encoding_errors="surrogateescape",
        )


def _first_file_is_being_written(persistence: dict[str, object]) -> bool:
    """Whether a server whose append-only file was just enabled does not have a complete one yet."""
    return bool(persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"])


def _last_words(path: Path, start: int) -> str:
    """The last line that the server wrote after byte `start` of its log, without time and process number."""
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read(MAX_LOG_BYTES).decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return re.sub(r"^\d+:\w .*? [#*.-] ", "", said[-1]) if said else "none"
