"""A server of ours in a thread, and raw sockets to it: what the tests of HTTP stand on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from services.http import Limits, Server
from services.http.guard import Application

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came over the wire; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


@contextlib.contextmanager
def served(
    make: Callable[[], Application], limits: Limits | None = None, **more: Any
) -> Iterator[tuple[str, int, Server]]:
    """Host, port and server of an application that `make` makes in the server's own thread."""
    opened = threading.Event()
    kept: list[Server] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            server = Server(make(), limits=limits, **more)
            server.open()
            kept.append(server)
            opened.set()
            server.run()
        except BaseException as error:  # noqa: BLE001 - raised where the test waits
            failed.append(error)
        finally:
            opened.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert opened.wait(PATIENCE_S)
    if failed:
        thread.join()
        raise failed[0]
    server = kept[0]
    try:
        yield *place_of(server.url), server
    finally:
        server.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server did not end"
        if failed:
            raise failed[0]


def place_of(url: str) -> tuple[str, int]:
    """Host and port of a URL that names both."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def connected(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=PATIENCE_S)


def read_answer(connection: socket.socket, *, head_only: bool = False) -> Answer:
    """One answer. Raises EOFError when the connection ends before it is whole."""
    file = connection.makefile("rb", buffering=0)
    line = file.readline()
    if not line:
        raise EOFError("no answer")
    status = int(line.split()[1])
    headers: dict[str, str] = {}
    while (line := file.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = b""
    if not head_only and "content-length" in headers:
        while len(body) < int(headers["content-length"]):
            piece = file.read(int(headers["content-length"]) - len(body))
            if not piece:
                raise EOFError("half an answer")
            body += piece
    return Answer(status, headers, body)


def request(method: str, path: str, body: bytes | None = None, *, host: str = "127.0.0.1", **headers: str) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def ask(host: str, port: int, raw: bytes, *, head_only: bool = False) -> Answer:
    """The answer to raw bytes, on a connection of their own."""
    with connected(host, port) as connection:
        connection.sendall(raw)
        return read_answer(connection, head_only=head_only)


def ended(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, with or without words; raises TimeoutError when it does not."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    return True
