"""Sends everything back: the simplest server, as a process on a host of the world. Says so when it is ready.

usage: python -m tests.partition.echo (tcp|zmq) ADDRESS PORT
"""

from __future__ import annotations

import contextlib
import socketserver
import sys

import zmq


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := self.request.recv(65536):
                self.request.sendall(chunk)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    kind, address, port = sys.argv[1:]
    if kind == "tcp":
        with Server((address, int(port)), Echo) as server:
            print("ready", flush=True)
            server.serve_forever()
    else:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
            socket.bind(f"tcp://{address}:{port}")
            print("ready", flush=True)
            while True:
                socket.send_multipart(socket.recv_multipart())


if __name__ == "__main__":
    main()
