"""Strangers at a master's port: frames by chance, frames that were once good, bytes that are no frames."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import msgpack
import zmq

from protocol import messages as wire
from protocol.vectors import EXAMPLES, REFUSED

FRAMES_A_CONNECTION = 500
SEND_TIMEOUT_MS = 20_000
OVERSIZE = wire.MAX_BODY_BYTES + 1
GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL"
"""How ZMTP 3.0 begins; what follows here is never right."""

GOOD = [wire.encode(message) for message in EXAMPLES.values()]
BAD = [broken.frames for broken in REFUSED.values()]


def mutated(frames: list[bytes], chance: random.Random) -> list[bytes]:
    """A good message with one to three things wrong with it."""
    made = [bytearray(frame) for frame in frames]
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(made)) if made else 0
        match chance.randrange(6):
            case 0 if made and made[at]:
                made[at][chance.randrange(len(made[at]))] = chance.randrange(256)
            case 1 if made and made[at]:
                del made[at][chance.randrange(len(made[at])) :]
            case 2 if made:
                made[at] += chance.randbytes(chance.randint(1, 8))
            case 3 if made:
                made.insert(at, bytearray(made[at]))
            case 4 if len(made) > 1:
                del made[at]
            case _:
                made = [bytearray(wire.VERSION), bytearray(chance.choice(GOOD)[1]), *made[-1:]]
    return [bytes(frame) for frame in made] or [b""]


def _nested(chance: random.Random, depth: int = 0) -> object:
    kinds = [None, True, -1, 1 << 63, 0.5, "", "text", b"bytes", chance.randrange(1 << 32)]
    if depth < 4 and chance.random() < 0.5:
        return [_nested(chance, depth + 1) for _ in range(chance.randrange(9))]
    return chance.choice(kinds)


def frames(chance: random.Random, names: list[str]) -> list[bytes]:
    """What a stranger says. `names` are those of workers that are at work: some are said by others, too."""
    match chance.randrange(8):
        case 0:
            return [chance.randbytes(chance.randrange(64)) for _ in range(chance.randint(1, 5))]
        case 1:
            return [wire.VERSION, chance.choice(GOOD)[1], chance.randbytes(chance.randrange(200))]
        case 2:
            return [wire.VERSION, chance.choice(GOOD)[1], msgpack.packb(_nested(chance))]
        case 3:
            return chance.choice(BAD) or [b""]
        case 4:
            hello = EXAMPLES["hello"]
            assert isinstance(hello, wire.Hello)
            return wire.encode(hello._replace(name=chance.choice(names), run=chance.randbytes(4).hex()))
        case 5:
            return chance.choice(GOOD)
        case _:
            return mutated(chance.choice(GOOD), chance)


def speak(address: str, number: int, seed: int, names: list[str]) -> Iterator[int]:
    """Send so many messages to HOST:PORT over connections of 500 each; how many so far, after each of these."""
    chance = random.Random(seed)
    with zmq.Context() as context:
        for first in range(0, number, FRAMES_A_CONNECTION):
            last = min(number, first + FRAMES_A_CONNECTION)
            with context.socket(zmq.DEALER) as dealer:
                dealer.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
                dealer.setsockopt(zmq.LINGER, SEND_TIMEOUT_MS)
                dealer.connect(f"tcp://{address}")
                for _ in range(first, last):
                    dealer.send_multipart(frames(chance, names))
                    while dealer.poll(0):
                        dealer.recv_multipart()
            yield last


def send_oversize(address: str, times: int) -> None:
    """Messages that are larger than a master takes."""
    with zmq.Context() as context:
        for _ in range(times):
            with context.socket(zmq.DEALER) as dealer:
                dealer.setsockopt(zmq.LINGER, 1000)
                dealer.connect(f"tcp://{address}")
                dealer.send_multipart([wire.VERSION, b"BYE", bytes(OVERSIZE)])


def send_garbage(address: str, times: int, seed: int) -> None:
    """Bytes that are not ZeroMQ's, over many connections, half of them open at once; then all are closed."""
    chance = random.Random(seed)
    host, port = address.split(":")
    with contextlib.ExitStack() as opened:
        for n in range(times):
            one = socket.create_connection((host, int(port)), timeout=10)
            with contextlib.suppress(OSError):
                one.sendall((GREETING if n % 2 else b"") + chance.randbytes(chance.randrange(1, 2000)))
            if n % 2:
                opened.enter_context(one)
            else:
                one.close()
