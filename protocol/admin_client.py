"""How a tool queries the running masters: one STATUS to each, one REPORT from each that answers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

import zmq

from protocol import messages as wire
from protocol.errors import LedgerError, MalformedError
from protocol.transport.keys import Certificate
from protocol.transport.sockets import dealer, routing_id

ANSWER_S = 1.0


def ask_masters(
    addresses: Sequence[str], question: str, *, certificate: Certificate | None = None, within_s: float = ANSWER_S
) -> dict[str, dict[str, Any]]:
    """The answers of the masters at these HOST:PORTs, by address; it does not wait for others once a leader answered.

    Raises LedgerError for an invalid answer, and for a refusal.
    """
    answers: dict[str, dict[str, Any]] = {}
    with zmq.Context() as context, contextlib.ExitStack() as opened:
        poller, places = zmq.Poller(), {}
        for address in addresses:
            socket = opened.enter_context(dealer(context, address, routing_id(), certificate=certificate))
            socket.setsockopt(zmq.LINGER, 0)
            socket.send_multipart(wire.encode(wire.Status(question)))
            poller.register(socket, zmq.POLLIN)
            places[socket] = address
        deadline = time.monotonic() + within_s
        while len(answers) < len(places) and (left := deadline - time.monotonic()) > 0:
            for socket, _ in poller.poll(int(left * 1000) + 1):
                answers[places[socket]] = _answer(places[socket], socket.recv_multipart())
            if any(answer.get("role") == "leading" for answer in answers.values()):
                break
    return answers


def _answer(address: str, frames: list[bytes]) -> dict[str, Any]:
    try:
        answer = wire.decode(frames)
    except MalformedError as error:
        raise LedgerError(f"what listens at {address} is no master: {error}") from error
    if isinstance(answer, wire.Report):
        state: dict[str, Any] = json.loads(answer.document)
        return state
    raise LedgerError(f"the master at {address} would not: {getattr(answer, 'words', answer)}")
