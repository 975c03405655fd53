"""A worker whose jobs cost nothing: the real `Keeping` on a real socket, with no threads and no service.

usage: noop_worker.py NAME HOST:PORT [ROOM]     ends with the master's QUIT
"""

from __future__ import annotations

import secrets
import sys
import time

import zmq

from protocol import messages as wire
from protocol.errors import MalformedError
from protocol.sockets import dealer
from worker.keeping import Keeping, Leave, Start

ROOM = 256


def main(name: str, address: str, room: int) -> None:
    run = secrets.token_hex(8)
    callers = [wire.Caller(operation, f"address:{name}", "noop") for operation in "TFAU"]
    keeping = Keeping(name, run, "twitter", list("TFAU"), room, callers)
    keeping.heard_budget(time.monotonic(), wire.BudgetReport(f"address:{name}", "noop", -1, 0, 0, 0))
    with zmq.Context() as context, dealer(context, address, run.encode()) as socket:
        while True:
            now = time.monotonic()
            keeping.tick(now)
            for _, message in keeping.outbox:
                socket.send_multipart(wire.encode(message))
            keeping.outbox = []
            if not socket.poll(100):
                continue
            now = time.monotonic()
            while True:
                try:
                    keeping.message(now, 0, wire.decode(socket.recv_multipart(zmq.NOBLOCK)))
                except zmq.Again:
                    break
                except MalformedError as error:
                    sys.exit(str(error))
            orders, keeping.orders = keeping.orders, []
            for order in orders:
                if isinstance(order, Leave):
                    return
                if isinstance(order, Start):
                    job = order.job
                    end = wire.End(job.token, wire.DONE, job.steps + 1, 200, "complete", [], 0, "")
                    keeping.ended(now, end)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else ROOM)
