"""The ZeroMQ sockets of masters and workers, with the options on which the protocol relies.

With a certificate a socket speaks CURVE only: a peer without encryption, or without the other's key, is rejected.
"""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Iterable
from typing import Final

import zmq

from protocol.errors import UsageError
from protocol.events import MAX_EVENT_BYTES
from protocol.messages import MAX_BODY_BYTES
from protocol.transport.endpoints import written
from protocol.transport.keys import Certificate

QUEUED = 10_000
"""Messages queued for a peer before sending to it is refused. Correctness does not depend on it."""
QUEUED_EVENTS = 1_500
"""Events queued for a subscriber; further ones are dropped for it, and read again from the log. With parts of
`protocol.events.PART_BYTES` a stuck subscriber costs a master 48 MB at most."""
QUEUED_HERE = 10_000
"""Events that a subscriber queues before it has processed them."""
RECONNECT_MS = 100
RECONNECT_MAX_MS = 2_000
LINGER_MS = 500
"""How long a process that ends waits until its last messages are sent."""
HANDSHAKE_MS = 10_000
"""The time-out of a handshake, on both sides; a refused one ends with it, and is retried.

Hundreds of workers may connect at once to a busy master: with a much shorter one, none would ever succeed."""
REBIND_S = 2.0
"""How long a port that this process has just closed may take to become free."""

JOBS_DOMAIN: Final = "jobs"
EVENTS_DOMAIN: Final = "events"
"""The names of the sockets for the authentication of handshakes: `protocol.transport.authentication`."""


def routing_id() -> bytes:
    """A new routing id for one run. The first byte is not zero: ids that begin with one are libzmq's own."""
    return bytes([1 + secrets.randbelow(255)]) + secrets.token_bytes(15)


def _options(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.SNDHWM, QUEUED)
    socket.setsockopt(zmq.RCVHWM, QUEUED)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_BODY_BYTES)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)


def _answer_with(socket: zmq.Socket[bytes], certificate: Certificate, domain: str) -> None:
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, certificate.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, certificate.secret.encode())
    socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
    # Without it libzmq accepts every client while no authenticator runs.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def call_with(socket: zmq.Socket[bytes], certificate: Certificate) -> None:
    """Make a socket that is not connected yet use this certificate towards masters."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, certificate.master.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, certificate.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, certificate.secret.encode())


def router(
    context: zmq.Context[zmq.Socket[bytes]], host: str, port: int, *, certificate: Certificate | None = None
) -> tuple[zmq.Socket[bytes], int]:
    """A master's socket, bound, and its port; port 0 takes any free one.

    Sending to an unreachable peer raises an error. With the masters' `certificate` no client is accepted unless an
    `Authentication` of this context runs (`protocol.transport.authentication`). Raises UsageError when the address
    cannot be bound.
    """
    socket = context.socket(zmq.ROUTER)
    _options(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    if certificate is not None:
        _answer_with(socket, certificate, JOBS_DOMAIN)
    return socket, _bind(socket, host, port)


def publisher(
    context: zmq.Context[zmq.Socket[bytes]],
    host: str,
    port: int,
    *,
    certificate: Certificate | None = None,
    instead_of: zmq.Socket[bytes] | None = None,
) -> tuple[zmq.Socket[bytes], int]:
    """A master's socket for events, bound, and its port.

    `instead_of` is closed first: this disconnects a subscriber whose key was revoked, since ZeroMQ cannot end a single
    connection of a PUB. The others reconnect by themselves, and request what they missed. Raises UsageError when the
    address cannot be bound.
    """
    if instead_of is not None:
        instead_of.close(0)
    socket = context.socket(zmq.XPUB)  # a PUB that reports subscriptions
    _options(socket)
    socket.setsockopt(zmq.SNDHWM, QUEUED_EVENTS)
    if certificate is not None:
        _answer_with(socket, certificate, EVENTS_DOMAIN)
    return socket, _bind(socket, host, port, within_s=0.0 if instead_of is None else REBIND_S)


def subscriber(
    context: zmq.Context[zmq.Socket[bytes]], address: str, topics: Iterable[str], *, certificate: Certificate | None
) -> zmq.Socket[bytes]:
    """A socket for one master's events, of topics with these prefixes. Raises UsageError for an invalid address."""
    socket = context.socket(zmq.SUB)
    _options(socket)
    socket.setsockopt(zmq.RCVHWM, QUEUED_HERE)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_EVENT_BYTES)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if certificate is not None:
        call_with(socket, certificate)
    for topic in topics:
        socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
    connect(socket, address)
    return socket


def _bind(socket: zmq.Socket[bytes], host: str, port: int, *, within_s: float = 0.0) -> int:
    deadline = time.monotonic() + within_s
    while True:
        try:
            socket.bind(f"tcp://{written(host, port or '*')}")
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(0.01)  # a thread of ZeroMQ closes the socket, without notice
                continue
            socket.close(0)
            raise UsageError(
                f"{written(host, port)} cannot be listened on: {error.strerror}; choose another --port"
            ) from error
        return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def dealer(
    context: zmq.Context[zmq.Socket[bytes]],
    address: str,
    routing_id: bytes,
    *,
    queueing: bool = True,
    certificate: Certificate | None = None,
) -> zmq.Socket[bytes]:
    """A worker's socket to one master, `HOST:PORT`; it connects when it can, and reconnects when needed.

    Without `queueing` nothing can be sent while there is no connection, so that a master that returns does not receive
    outdated messages. Raises UsageError for an invalid address.
    """
    socket = idle_dealer(context, routing_id, queueing=queueing, certificate=certificate)
    connect(socket, address)
    return socket


def idle_dealer(
    context: zmq.Context[zmq.Socket[bytes]], routing_id: bytes, *, queueing: bool, certificate: Certificate | None
) -> zmq.Socket[bytes]:
    """A dealer that does not connect yet."""
    socket = context.socket(zmq.DEALER)
    _options(socket)
    socket.setsockopt(zmq.ROUTING_ID, routing_id)
    socket.setsockopt(zmq.IMMEDIATE, 0 if queueing else 1)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if certificate is not None:
        call_with(socket, certificate)
    return socket


def connect(socket: zmq.Socket[bytes], address: str) -> None:
    """Connect a dealer to HOST:PORT. Raises UsageError, and closes it, for an invalid address."""
    try:
        socket.connect(f"tcp://{address}")
    except zmq.ZMQError as error:
        socket.close(0)
        raise UsageError(f"{address} is not an address of a master: HOST:PORT is") from error
