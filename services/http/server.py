"""The server: binds, answers in greenlets of one thread, and shuts down gracefully.

Rules:
  * Loopback by default. Other addresses must be allowed explicitly, since these pages have no authentication.
  * Functions beside it run in real threads; if one of them fails, the server stops with its error message.
  * On shutdown, no new requests are accepted, event streams end, responses in progress have a few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from gevent.socket import socket as GeventSocket

from protocol.errors import TmaticError, UsageError
from protocol.stopping import set_up
from protocol.transport.endpoints import reached
from protocol.transport.exposure import is_loopback
from services.http.connections import Connection
from services.http.guard import Application, RequestGuard
from services.http.limits import Limits
from services.http.names import Names
from services.http.prefix import Prefixed
from services.http.threads import blocking

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
_BACKLOG: Final = 1_024
ENDING_S: Final = 5.0
"""How long the threads beside the server may take to end. Durable state does not depend on it."""

_FILES_BESIDE: Final = 256
"""Open files that a service needs in addition to its connections."""


class Server:
    """One listening address with its application. Created, opened and run in one thread; `stop` from any."""

    def __init__(
        self,
        app: Application,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        limits: Limits | None = None,
        allowed: Collection[str] = (),
        base_path: str = "",
        insecure: bool = False,
    ) -> None:
        if not (insecure or is_loopback(host)):
            raise UsageError(
                f"whoever reaches {host or '*'} could use this service, which asks for no password: put a server that "
                "does in front of it, or open it to everybody by --insecure"
            )
        self._host = host.removeprefix("[").removesuffix("]")
        self._port = port
        self._limits = limits or Limits()
        self._base_path = base_path
        within = Prefixed(app, base_path) if base_path else app
        self._app = RequestGuard(within, self._limits, Names(self._host, allowed))
        self._server: WSGIServer | None = None
        self._told: Any = None
        self._lock = threading.Lock()
        self._stopped = False
        self._ended = Event()
        self._idle: set[Any] = set()
        self.url = ""

    def open(self) -> str:
        """Bind, and return the URL. Connections then queue until `run` answers them. Raises TmaticError."""
        listening = self._bound()
        port = listening.getsockname()[1]
        self.url = f"http://{reached(self._host, port)}{self._base_path}"
        limited = type("LimitedConnection", (Connection,), {"limits": self._limits, "idle": self._idle})
        self._server = WSGIServer(
            listening,
            self._app,
            spawn=Pool(self._limits.connections),
            log=None,
            error_log=log,
            handler_class=limited,
            environ={"SERVER_NAME": self._host, "SERVER_PORT": str(port)},
        )
        with self._lock:
            self._told = gevent.get_hub().loop.async_()
            self._told.start(self._ended.set)
        _allow_files(self._limits.connections + _FILES_BESIDE)
        return self.url

    def run(self, ending: Sequence[Callable[[], object]] = ()) -> None:
        """Serve until `stop`, then call the functions in `ending` and let responses in progress end."""
        assert self._server is not None, "it must be open before it runs"
        try:
            if not self._stopped:
                self._server.start()
                self._ended.wait()
        finally:
            for function in ending:
                function()
            gevent.killall(list(self._idle), block=False)
            self._server.stop(timeout=self._limits.ending_s)
            with self._lock:
                self._told.close()
                self._told = None

    def stop(self) -> None:
        """Stop, from any thread or signal handler. Idempotent, and harmless before `open` or after the end."""
        self._stopped = True
        with self._lock:
            if self._told is not None:
                self._told.send()

    def _bound(self) -> GeventSocket:
        try:
            family, _, _, _, address = socket.getaddrinfo(
                self._host or None, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except OSError as error:
            raise UsageError(f"{self._host} is no address of this machine: {error.strerror}") from error
        listening = GeventSocket(family=family)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRINUSE:
                raise TmaticError(
                    f"port {self._port} on {self._host} is in use; choose another, or 0 for any that is free"
                ) from error
            raise TmaticError(f"cannot listen on {self._host}, port {self._port}: {error.strerror}") from error
        return listening


def serve(
    app: Application,
    name: str,
    *,
    host: str = LOOPBACK,
    port: int,
    limits: Limits | None = None,
    allowed: Collection[str] = (),
    base_path: str = "",
    insecure: bool = False,
    beside: Sequence[Callable[[], object]] = (),
    ending: Sequence[Callable[[], object]] = (),
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; see the package's docstring. `name` is for the log.

    Raises UsageError or TmaticError when it cannot listen, and whatever ended one of `beside`.
    """
    server = Server(app, host=host, port=port, limits=limits, allowed=allowed, base_path=base_path, insecure=insecure)
    url = server.open()
    failed: list[BaseException] = []

    def run_beside(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - `serve` raises it again
            failed.append(error)
        finally:
            server.stop()

    signals = set_up(gevent.signal_handler, server.stop)
    threads = [
        threading.Thread(target=run_beside, args=(function,), name=f"{name}-beside", daemon=True) for function in beside
    ]
    for thread in threads:
        thread.start()
    log.info("%s listens at %s", name, url)
    if ready is not None:
        ready(url)
    try:
        server.run(ending)
        blocking(_joined, threads, ENDING_S)
    finally:
        for watcher in signals.values():
            watcher.cancel()
    if failed:
        raise failed[0]
    log.info("%s has ended", name)


def _joined(threads: Sequence[threading.Thread], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _allow_files(number: int) -> None:
    """Raise the limit of open files to what connections need, if the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
