"""A search server that answers as it is told, for what a real one does seldom: 429, faults, other products."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson

Answer = tuple[int, dict[str, str], bytes]
GREETING = orjson.dumps({"version": {"number": "8.15.0"}, "tagline": "You Know, for Search"})


@dataclass
class Scripted:
    """What was asked, and what is answered: the next of `answers`, and when there are none what `default` says."""

    port: int = 0
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    authorized: list[str] = field(default_factory=list)
    """What each request said of a name and a password."""
    answers: list[Answer] = field(default_factory=list)
    default: Callable[[str, str, bytes], Answer] = lambda method, path, body: (200, {}, GREETING)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Listening(ThreadingHTTPServer):
    """One whose clients may go before they have heard all."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def scripted() -> Iterator[Scripted]:
    script = Scripted()

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.asked.append((self.command, self.path, body))
            script.authorized.append(self.headers.get("Authorization", ""))
            said = script.answers.pop(0) if script.answers else script.default(self.command, self.path, body)
            status, headers, content = said
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *arguments: object) -> None: ...

    with _Listening(("127.0.0.1", 0), Answering) as server:
        script.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
