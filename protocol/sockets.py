"""The ZeroMQ sockets of masters and workers, with the options on which the protocol counts."""

from __future__ import annotations

import zmq

from protocol.errors import UsageError
from protocol.messages import MAX_BODY_BYTES

QUEUED = 10_000
"""Messages that wait for a peer before sending to it is refused. Nothing's correctness rests on it."""
RECONNECT_MS = 100
RECONNECT_MOST_MS = 2_000
LINGER_MS = 500
"""How long a process that ends waits for its last words to leave."""


def _options(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.SNDHWM, QUEUED)
    socket.setsockopt(zmq.RCVHWM, QUEUED)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_BODY_BYTES)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.IPV6, 1)


def router(context: zmq.Context[zmq.Socket[bytes]], host: str, port: int) -> tuple[zmq.Socket[bytes], int]:
    """A master's socket, bound, and its port; port 0 takes any free one.

    An unreachable peer is an error at the send, not silence. Raises UsageError when the address cannot be bound.
    """
    socket = context.socket(zmq.ROUTER)
    _options(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    try:
        socket.bind(f"tcp://{host}:{port or '*'}")
    except zmq.ZMQError as error:
        socket.close(0)
        raise UsageError(f"{host}:{port} cannot be listened on: {error.strerror}; choose another --port") from error
    return socket, int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def dealer(
    context: zmq.Context[zmq.Socket[bytes]], address: str, routing_id: bytes, *, queueing: bool = True
) -> zmq.Socket[bytes]:
    """A worker's socket to one master, `HOST:PORT`; it connects when it can, and again whenever it must.

    Without `queueing` nothing can be sent while there is no connection, so that a master that comes back is not met
    by old news. Raises UsageError when the address is not one.
    """
    socket = context.socket(zmq.DEALER)
    _options(socket)
    socket.setsockopt(zmq.ROUTING_ID, routing_id)
    socket.setsockopt(zmq.IMMEDIATE, 0 if queueing else 1)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MOST_MS)
    try:
        socket.connect(f"tcp://{address}")
    except zmq.ZMQError as error:
        socket.close(0)
        raise UsageError(f"{address} is not an address of a master: HOST:PORT is") from error
    return socket
