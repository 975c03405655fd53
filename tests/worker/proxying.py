"""A forward proxy as others run them: it asks services with http://, and makes tunnels to those with https://."""

from __future__ import annotations

import base64
import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxying:
    """A running proxy, and what it was asked: the first line of each request, and from which address it came.

    `wants` is USER:PASSWORD, if it wants one; `refuses` a status line with which it refuses everything; `trickles`
    sends one header after the other instead of an answer.
    """

    place: str = ""
    wants: str = ""
    refuses: str = ""
    trickles: bool = False
    asked: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.place}"


@contextmanager
def proxying() -> Iterator[Proxying]:
    proxy = Proxying()

    class Visit(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while self._serve_one():
                    pass

        def _serve_one(self) -> bool:
            first = self.rfile.readline().decode("latin-1").strip()
            if not first:
                return False
            headers: dict[str, str] = {}
            while line := self.rfile.readline().strip().decode("latin-1"):
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", "0")))
            proxy.asked.append(first)
            proxy.addresses.append(self.client_address[0])
            method, where, _ = first.split()
            if proxy.trickles:
                self.wfile.write(b"HTTP/1.1 200 So\r\n")
                while True:
                    self.wfile.write(b"X-A: x\r\n")
                    time.sleep(0.02)
            wanted = "Basic " + base64.b64encode(proxy.wants.encode()).decode()
            if proxy.wants and headers.get("proxy-authorization") != wanted:
                return self._refuse("407 Proxy Authentication Required")
            if proxy.refuses:
                return self._refuse(proxy.refuses)
            if method == "CONNECT":
                host, _, port = where.rpartition(":")
                self._tunnel(host, int(port))
                return False
            return self._forward(method, where, headers, body)

        def _refuse(self, status: str) -> bool:
            self.wfile.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            return True

        def _forward(self, method: str, where: str, headers: dict[str, str], body: bytes) -> bool:
            parts = urlsplit(where)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            kept = {name: value for name, value in headers.items() if not name.startswith("proxy-")}
            lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in kept.items())]
            with socket.create_connection((parts.hostname or "", parts.port or 80), 10) as to:
                to.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
                to.shutdown(socket.SHUT_WR)
                while part := to.recv(65_536):
                    self.wfile.write(part)
            return False

        def _tunnel(self, host: str, port: int) -> None:
            with socket.create_connection((host, port), 10) as to:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pour, args=(to, self.connection), daemon=True)
                back.start()
                _pour(self.connection, to)
                back.join(10)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Visit) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        proxy.place = f"127.0.0.1:{server.server_address[1]}"
        yield proxy
        server.shutdown()


def _pour(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65_536):
            to.sendall(part)
        to.shutdown(socket.SHUT_WR)
