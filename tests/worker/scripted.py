"""A service that answers what a test tells it to, byte by byte, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Reply:
    """One answer. `keep` bytes of the body are sent, of the announced `length`; `wait_s` holds it back."""

    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=dict)
    keep: int | None = None
    reset: bool = False
    wait_s: float = 0.0
    trickle_s: float = 0.0


@dataclass
class Question:
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    address: str
    connection: int


class Scripted:
    """`replies` are given in order, the last one again and again."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque([Reply()])
        self.asked: list[Question] = []
        self.url = ""

    def answers(self, *replies: Reply) -> None:
        self.replies = deque(replies)

    def next(self) -> Reply:
        return self.replies.popleft() if len(self.replies) > 1 else self.replies[0]


CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = CERTIFICATES / "authority.pem"
"""Who vouches for a service of tests with TLS. Its key is gone; all of them are valid from 2000 to 2125."""


@contextmanager
def scripted(*, tls: bool = False) -> Iterator[Scripted]:
    script = Scripted()

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while self._answer_one():
                    pass

        def _answer_one(self) -> bool:
            head = self.rfile.readline().decode("latin-1").split()
            if len(head) != 3:
                return False
            headers = {}
            while line := self.rfile.readline().strip().decode("latin-1"):
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            form = self.rfile.read(int(headers.get("content-length", "0"))).decode()
            parts = urlsplit(head[1])
            params = dict(parse_qsl(parts.query) + parse_qsl(form))
            address, number = self.client_address
            script.asked.append(Question(head[0], parts.path, params, headers, address, number))
            return self._give(script.next())

        def _give(self, reply: Reply) -> bool:
            time.sleep(reply.wait_s)
            headers = {"Content-Length": str(len(reply.body)), **reply.headers}
            lines = [f"HTTP/1.1 {reply.status} So", *(f"{name}: {value}" for name, value in headers.items())]
            body = reply.body if reply.keep is None else reply.body[: reply.keep]
            try:
                self.wfile.write("\r\n".join([*lines, "", ""]).encode())
                for start in range(0, len(body), 1 if reply.trickle_s else max(1, len(body))):
                    time.sleep(reply.trickle_s)
                    self.wfile.write(body[start : start + 1] if reply.trickle_s else body)
            except OSError:
                return False
            if reply.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return reply.keep is None and not reply.reset

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Conversation) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / "service.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        script.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        yield script
        server.shutdown()
