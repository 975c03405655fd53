"""Many workers in one process, whose jobs cost nothing: the load of `many_workers.py`.

usage: crowd.py WORKERS ROOM HOST:PORT     ends with the master's QUIT, or with its end

To a master each is a worker like any other: a connection of its own, a DEALER by its handshake (ZMTP 3.0, NULL), with
HELLO, RESULT and a HEARTBEAT a second that lists what it holds. Below there is no library but plain sockets: a thousand
DEALERs of libzmq and the real `Keeping` in each would take a core for themselves, which the master needs.
"""

from __future__ import annotations

import resource
import secrets
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgpack

from protocol import messages as wire

MORE, LONG, COMMAND = 1, 2, 4
SPARE_DESCRIPTORS = 100
CHUNK = 1 << 20
PATIENCE_S = 0.05


def frame(flags: int, body: bytes) -> bytes:
    """A frame of ZMTP."""
    if len(body) > 255:
        return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body
    return bytes([flags, len(body)]) + body


def message(kind: type, fields: list[Any]) -> bytes:
    """A message of ours, in frames."""
    head = frame(MORE, wire.VERSION) + frame(MORE, wire.TYPES[kind])
    return head + frame(0, msgpack.packb(fields, use_bin_type=True))


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def ready(routing_id: bytes) -> bytes:
    """The command that ends a DEALER's handshake."""
    properties = [(b"Socket-Type", b"DEALER"), (b"Identity", routing_id)]
    packed = [bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in properties]
    return frame(COMMAND, b"\x05READY" + b"".join(packed))


class Member:
    """One worker: its connection, and what it holds."""

    def __init__(self, name: str, room: int, address: tuple[str, int]) -> None:
        self.run, self._room = secrets.token_hex(8), room
        self._callers = [[operation, f"address:{name}", "noop"] for operation in "TFAU"]
        self._budgets = [[f"address:{name}", "noop", -1, 0, 0, 0]]
        self._name, self._held = name, dict[str, int]()
        self._bytes = b""
        self._frames: list[bytes] = []
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(GREETING + ready(self.run.encode()))
        left = len(GREETING)
        while left:
            left -= len(self.socket.recv(left))
        self._hello()

    def _hello(self) -> None:
        fields = [self._name, self.run, "twitter", list("TFAU"), self._room, self._callers, self._spent()]
        self.socket.sendall(message(wire.Hello, [*fields, self._budgets]))

    def _spent(self) -> list[Any]:
        return [[token, granted, 0, 0] for token, granted in self._held.items()]

    def beat(self) -> None:
        """Say HEARTBEAT."""
        self.socket.sendall(message(wire.Heartbeat, [self.run, self._room, self._spent(), self._budgets]))

    def read(self) -> bool:
        """Read what there is, and end the jobs that it brings, in one message. Returns whether to go on."""
        heard = self.socket.recv(CHUNK)
        if not heard:
            return False
        ends: list[Any] = []
        for kind, body in self._messages(heard):
            match kind:
                case b"JOB":
                    for job in msgpack.unpackb(body)[1]:
                        self._held[job[0]] = job[9]
                        ends.append([job[0], wire.DONE, job[4] + 1, 200, "complete", [], 0, ""])
                case b"COMMITTED":
                    for verdict in msgpack.unpackb(body)[1]:
                        self._held.pop(verdict[0], None)
                case b"WELCOME":
                    self.beat()
                case b"QUIT":
                    return False
                case b"ERROR":
                    self._refused(*msgpack.unpackb(body))
        if ends:
            self.socket.sendall(message(wire.Result, [ends, self._budgets]))
        return True

    def _refused(self, code: str, words: str) -> None:
        if code != "who":
            raise SystemExit(f"{self._name} was refused: {words}")
        self._hello()

    def _messages(self, heard: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The type and body of each message that is complete."""
        data, at = self._bytes + heard if self._bytes else heard, 0
        while at + 2 <= len(data):
            flags = data[at]
            begin = at + (9 if flags & LONG else 2)
            if begin > len(data):
                break
            end = begin + int.from_bytes(data[at + 1 : begin], "big")
            if end > len(data):
                break
            at = end
            if flags & COMMAND:
                continue
            self._frames.append(data[begin:end])
            if not flags & MORE:
                _, kind, body = self._frames
                self._frames = []
                yield kind, body
        self._bytes = data[at:]


def main(count: int, room: int, address: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + SPARE_DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, _, port = address.rpartition(":")
    members = [Member(f"w{number}", room, (host, int(port))) for number in range(count)]
    by_descriptor = {member.socket.fileno(): member for member in members}
    poller = select.epoll()
    for descriptor in by_descriptor:
        poller.register(descriptor, select.EPOLLIN)
    begun, beats = time.monotonic(), 0
    while True:
        for descriptor, _ in poller.poll(PATIENCE_S):
            if not by_descriptor[descriptor].read():
                return
        due = int((time.monotonic() - begun) * count)  # a heartbeat a second, of one after the other
        for number in range(beats, due):
            members[number % count].beat()
        beats = due


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
