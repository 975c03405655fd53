"""The identity behind each connection of a master's ROUTER, checked message by message.

A handshake is checked once, but a key may be revoked while its owner is connected, and libzmq cannot end a single
connection of a socket. So every message is checked, in and out: ZeroMQ attaches the sender's public key to every
message, and a sender cannot forge another's. The role of a routing id is that of the last message under it: it belongs
to one connection at a time (no handover), and, when that has ended, to the next connection that uses it.
"""

from __future__ import annotations

from typing import Final

import zmq

from protocol import messages as wire
from protocol.transport.authentication import Authorised
from protocol.transport.keys import KeyRole

REMEMBERED: Final = 200_000
"""Routing ids with their keys: twice the workers that a master may have, since tools connect and leave."""

MAPPED: Final = "::ffff:"
"""The prefix of an IPv4 address on a dual-stack socket."""
HELLO: Final = wire.TYPES[wire.Hello]
WORKERS_SAY: Final = (wire.Hello, wire.ProgressMade, wire.Result, wire.Heartbeat, wire.Bye)

SUBSCRIBERS_ASK: Final = ("status", "where", "dead")


def may_say(role: KeyRole, message: wire.Message) -> bool:
    """Whether a sender with this role may send this message. A holder of the masters' key may send every message."""
    match role:
        case KeyRole.PEER:
            return True
        case KeyRole.WORKER:
            return isinstance(message, WORKERS_SAY)
        case KeyRole.SUBSCRIBER:
            if isinstance(message, wire.Status):
                return message.question.partition(" ")[0] in SUBSCRIBERS_ASK
            return isinstance(message, (wire.Replay, wire.Passed))


class Gatekeeper:
    """Reads a master's ROUTER. Without `authorised` its connections are plain, and every sender counts as a peer."""

    def __init__(self, authorised: Authorised | None) -> None:
        self._authorised = authorised
        self._keys: dict[bytes, str] = {}
        self._changes = 0
        self.refused = 0
        """Messages of senders whose authorisation was revoked."""
        self.addresses: dict[bytes, str] = {}
        """By routing id, the address that each HELLO came from."""

    def receive(self, router: zmq.Socket[bytes]) -> tuple[bytes, KeyRole | None, list[bytes]]:
        """The next message: its routing id, its sender's role (None: not authorised, drop it), its frames.

        Raises zmq.Again when there is none.
        """
        # Only the first frame is read as an object, which is slow; it has key and address like every other.
        sender = router.recv(zmq.NOBLOCK, copy=False)
        frames = router.recv_multipart(zmq.NOBLOCK)
        peer = sender.bytes
        if len(frames) > 1 and frames[1] == HELLO:
            self._remember(self.addresses, peer, _property(sender, "Peer-Address").removeprefix(MAPPED))
        if self._authorised is None:
            return peer, KeyRole.PEER, frames
        public = _property(sender, "User-Id")
        role = self._authorised.role_of(public) if public else None
        if role is None:
            self.refused += 1
        elif self._keys.get(peer) != public:
            self._remember(self._keys, peer, public)
        return peer, role, frames

    @staticmethod
    def _remember(known: dict[bytes, str], peer: bytes, value: str) -> None:
        if peer not in known and len(known) >= REMEMBERED:
            del known[next(iter(known))]
        known[peer] = value

    def may_get(self, peer: bytes) -> bool:
        """Whether messages may be sent to the last sender under a routing id."""
        if self._authorised is None:
            return True
        public = self._keys.get(peer)
        return public is not None and self._authorised.role_of(public) is not None

    def cut(self) -> list[bytes]:
        """The routing ids whose keys were revoked since the last call: their leases can go to others.

        A call costs nothing as long as nothing has changed.
        """
        if self._authorised is None or self._changes == self._authorised.changes:
            return []
        self._changes = self._authorised.changes
        gone = [peer for peer in self._keys if not self.may_get(peer)]
        for peer in gone:
            del self._keys[peer]
        return gone


def _property(sender: zmq.Frame, name: str) -> str:
    """A property of the connection over which a frame came, "" when it has none."""
    try:
        return str(sender[name])
    except zmq.ZMQError:
        return ""
