"""How a tool asks a master that runs: one STATUS, one REPORT."""

from __future__ import annotations

import json
import secrets
from typing import Any

import zmq

from protocol import messages as wire
from protocol.errors import LedgerError, MalformedError
from protocol.sockets import dealer

ANSWER_S = 1.0


def ask_master(address: str, question: str, *, within_s: float = ANSWER_S) -> dict[str, Any] | None:
    """What the master at HOST:PORT answers, None when nobody does. Raises LedgerError for an answer that is none."""
    with zmq.Context() as context:
        socket = dealer(context, address, secrets.token_bytes(8))
        socket.setsockopt(zmq.LINGER, 0)
        try:
            socket.send_multipart(wire.encode(wire.Status(question)))
            if not socket.poll(int(within_s * 1000)):
                return None
            answer = wire.decode(socket.recv_multipart())
        except MalformedError as error:
            raise LedgerError(f"what listens at {address} is no master: {error}") from error
        finally:
            socket.close()
    if isinstance(answer, wire.Report):
        state: dict[str, Any] = json.loads(answer.document)
        return state
    raise LedgerError(f"the master at {address} would not answer: {getattr(answer, 'words', answer)}")
