"""Who is behind each connection of a master's ROUTER, message by message.

A handshake is judged once, but a key may be revoked while its owner is connected, and libzmq has no way to end one
connection of a socket. So the door asks at every message, in and out: ZeroMQ writes the sender's public key on all that
comes over a connection, and nobody can write another's. What a routing id is worth rests on the last message under it:
it belongs to one connection at a time (no handover), and, when that has ended, to whoever takes it next.
"""

from __future__ import annotations

from typing import Final

import zmq

from protocol import messages as wire
from protocol.transport.authentication import Authorised
from protocol.transport.keys import KeyRole

REMEMBERED: Final = 200_000
"""Routing ids with their keys: twice the workers that a master may take, since tools come and go."""

MAPPED: Final = "::ffff:"
"""What stands before an IPv4 address where the socket is one of both versions."""
HELLO: Final = wire.TYPES[wire.Hello]
WORKERS_SAY: Final = (wire.Hello, wire.ProgressMade, wire.Result, wire.Heartbeat, wire.Bye)

SUBSCRIBERS_ASK: Final = ("status", "where", "dead")


def may_say(role: KeyRole, message: wire.Message) -> bool:
    """Whether a message is one for such a sender to send. Whoever has the masters' key may say everything."""
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
    """Reads a master's ROUTER. Without `authorised` its connections are plain, and everybody is as good as a peer."""

    def __init__(self, authorised: Authorised | None) -> None:
        self._authorised = authorised
        self._keys: dict[bytes, str] = {}
        self._changes = 0
        self.refused = 0
        """Messages of senders that are not authorised any more."""
        self.addresses: dict[bytes, str] = {}
        """By routing id, the address that each HELLO came from."""

    def receive(self, router: zmq.Socket[bytes]) -> tuple[bytes, KeyRole | None, list[bytes]]:
        """The next message: its routing id, what its sender may do (None: nothing, drop it), its frames.

        Raises zmq.Again when there is none.
        """
        # Only the first frame is taken as an object, which is slow; it bears key and address like every other.
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
        """Whether whoever last spoke under a routing id may be sent anything now."""
        if self._authorised is None:
            return True
        public = self._keys.get(peer)
        return public is not None and self._authorised.role_of(public) is not None

    def cut(self) -> list[bytes]:
        """The routing ids whose keys were revoked since this was last asked: what they hold can go to others.

        Asking costs nothing as long as nothing has changed.
        """
        if self._authorised is None or self._changes == self._authorised.changes:
            return []
        self._changes = self._authorised.changes
        gone = [peer for peer in self._keys if not self.may_get(peer)]
        for peer in gone:
            del self._keys[peer]
        return gone


def _property(sender: zmq.Frame, name: str) -> str:
    """What the connection that a frame came over says of itself, "" when it does not."""
    try:
        return str(sender[name])
    except zmq.ZMQError:
        return ""
