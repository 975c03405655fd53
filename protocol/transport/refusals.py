"""Why a master refused a connection, as a message, and the reconnection where libzmq would never make one.

ZeroMQ reports no error when a handshake fails: a worker with the wrong key would search for its master for ever. After
an answer that is not in its protocol it does not reconnect, though the port may belong to the right master by then.
"""

from __future__ import annotations

import zmq
from zmq.utils.monitor import recv_monitor_message

from protocol.transport.keys import Certificate
from protocol.transport.sockets import RECONNECT_MAX_MS, connect, idle_dealer

_WATCHED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH


def watched_dealer(
    context: zmq.Context[zmq.Socket[bytes]], address: str, routing_id: bytes, *, certificate: Certificate | None
) -> tuple[zmq.Socket[bytes], Refusals]:
    """A worker's socket to one master, without queueing, and the watch that reports why there is no connection.

    The watch starts before the connection: an unobserved first refusal would be the last.
    Raises UsageError for an invalid address.
    """
    socket = idle_dealer(context, routing_id, queueing=False, certificate=certificate)
    refusals = Refusals(socket, address, with_key=certificate is not None)
    try:
        connect(socket, address)
    except BaseException:
        refusals.close()
        raise
    return socket, refusals


class Refusals:
    """Watches the handshakes of one dealer to HOST:PORT. Close it before the dealer."""

    def __init__(self, socket: zmq.Socket[bytes], address: str, *, with_key: bool) -> None:
        self._socket, self._address, self._with_key = socket, address, with_key
        self._monitor = socket.get_monitor_socket(_WATCHED)
        self._call_at: float | None = None

    def look(self, now: float) -> str:
        """What went wrong since the last call, as text for a log; empty if nothing did. `now` is in seconds."""
        words = ""
        while self._monitor.poll(0):
            happened = recv_monitor_message(self._monitor)
            words = self._words(happened["event"], happened["value"])
            if happened["event"] != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._call_at = now + RECONNECT_MAX_MS / 1000
        if self._call_at is not None and now >= self._call_at:
            self._call_at = None
            # Connecting a dealer to an address that it has already does nothing.
            self._socket.disconnect(f"tcp://{self._address}")
            self._socket.connect(f"tcp://{self._address}")
        return words

    def _words(self, event: int, value: int) -> str:
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            if value != zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
                return f"what listens at {self._address} is no master"
            if self._with_key:
                return f"what listens at {self._address} speaks plainly, and this key is for a master that does not"
            return f"the master at {self._address} wants a key: `tmatic-master keys new NAME` makes one, --key names it"
        if self._with_key:
            return (
                f"the master at {self._address} does not answer to this key: it is not authorised there, "
                "or is for other masters"
            )
        return f"what listens at {self._address} does not answer as a master does"

    def close(self) -> None:
        """Stop watching."""
        if not self._socket.closed:
            self._socket.disable_monitor()
        self._monitor.close(0)
