"""Frames that a master drops: counted by kind, logged once per peer, and shown by `status`.

A master counts them whether it leads or stands by. The kinds are a closed set, so that no stranger fills the memory.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from protocol import messages as wire
from protocol.logs import fields

log = logging.getLogger(__name__)

MAX_PEERS = 256
"""Peers that are logged; frames of further ones are only counted."""

SENT_BY_WORKERS = (wire.Hello, wire.ProgressMade, wire.Result, wire.Heartbeat, wire.Bye)
SENT_TO_MASTERS = (*SENT_BY_WORKERS, wire.Passed, wire.Status, wire.Replay, wire.PeerWord)
"""The messages that may be sent to a master; all others are sent only by masters."""


class DroppedFrames:
    """The frames that one master dropped since its start."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._told: set[bytes] = set()

    def malformed(self, peer: bytes, frames: Sequence[bytes], why: str) -> None:
        """Count frames that are not a message."""
        self._drop(peer, fault(frames), why)

    def unexpected(self, peer: bytes, message: wire.Message) -> bool:
        """Whether a message must not be sent to a master; then it is counted, and the caller drops it."""
        if isinstance(message, SENT_TO_MASTERS):
            return False
        kind = wire.TYPES[type(message)].decode()
        self._drop(peer, f"unexpected {kind}", f"{kind} is for a master to say")
        return True

    def _drop(self, peer: bytes, kind: str, why: str) -> None:
        self.counted[kind] += 1
        if peer not in self._told and len(self._told) < MAX_PEERS:
            self._told.add(peer)
            log.warning("a frame was not understood", extra=fields(peer=peer.hex()[:32], why=why))


def fault(frames: Sequence[bytes]) -> str:
    """The kind of fault of frames that are not a message."""
    if len(frames) != 3:
        return "not three frames"
    version, kind, _ = frames
    if version != wire.VERSION:
        return "another version"
    return f"malformed {kind.decode()}" if kind in wire.TYPES.values() else "unknown type"


def rows(dropped: dict[str, dict[str, int]]) -> list[str]:
    """A line for each master that dropped something, by its address."""
    return [
        f"master {place}: frames dropped: {sum(kinds.values())} "
        f"({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))})"
        for place, kinds in dropped.items()
        if kinds
    ]
