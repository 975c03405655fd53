"""Events on the PUB socket: three frames, `[topic, incarnation.sequence.previous, body]`.

| topic | body, msgpack | in the log |
|---|---|---|
| `job.…`, `timeline.page`, `followers.page`, `user.page`, `master.leads` | the record: `docs/events.md` | yes |
| `timeline.records`, `followers.records`, `user.records` | part of the payload of the event of that sequence | no |
| `master.heads` | the last sequences so far: `Heads` | no |
| `stats.gauges` | part of the document of STATUS, JSON | no |
| `log.master` | [unix time, level, message, fields] | no |

`previous` is the sequence of the topic's previous event, so that a subscriber to one topic detects gaps. A message that
is not in the log has the sequence to which it belongs, and `previous` 0. The parts of a page precede its event,
`master.heads` follows the events of each commit: a subscriber with the last event of each of its topics missed none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from protocol.errors import MalformedError
from protocol.jobs import OPERATIONS
from protocol.numbers import MAX_INT64, whole_number

PART_BYTES: Final = 32 * 1024
"""Bytes of data in one message: with `QUEUED_EVENTS` of them, the queue of a stuck subscriber stays small."""
MAX_PARTS: Final = 4096
MAX_EVENT_BYTES: Final = 1024 * 1024
"""Bytes of one message; the body of an event is far smaller."""

HEADS: Final = "master.heads"
GAUGES: Final = "stats.gauges"
LOG: Final = "log.master"
RECORDS: Final = {operation: f"{words.topic}.records" for operation, words in OPERATIONS.items()}
"""The topic of a page's payload, by its operation."""


class Announcement(NamedTuple):
    """What was committed under a sequence. `payload` is sent with it, under the topic `records`."""

    sequence: int
    previous: int
    topic: str
    body: bytes
    records: str = ""
    payload: bytes = b""


class Received(NamedTuple):
    """A message of the PUB socket."""

    topic: str
    incarnation: str
    sequence: int
    previous: int
    body: bytes


class Heads(NamedTuple):
    """Up to `sequence`, the last of each topic that has one after `before`. With `before` 0: every topic."""

    before: int
    sequence: int
    last: Mapping[str, int]


class Part(NamedTuple):
    """One part of a larger body; `number` distinguishes the parts of one body from those of the next."""

    number: int
    part: int
    parts: int
    data: bytes


def frames(topic: str, incarnation: str, sequence: int, previous: int, body: bytes) -> list[bytes]:
    """The three frames of an event."""
    return [topic.encode(), f"{incarnation}.{sequence}.{previous}".encode(), body]


def received(message: list[bytes]) -> Received:
    """The event of three frames. Raises MalformedError."""
    if len(message) != 3:
        raise MalformedError(f"an event has 3 frames, not {len(message)}")
    topic, identity, body = message
    words = identity.split(b".")
    sequence, previous = (whole_number(word, MAX_INT64) for word in (words[1:] if len(words) == 3 else (b"", b"")))
    if sequence is None or previous is None or len(identity) > 100 or len(topic) > 100:
        raise MalformedError(f"{identity[:60]!r} is not INCARNATION.SEQUENCE.PREVIOUS")
    try:
        return Received(topic.decode(), words[0].decode(), sequence, previous, body)
    except UnicodeDecodeError as error:
        raise MalformedError("the topic of an event is not UTF-8") from error


def announced(incarnation: str, event: Announcement) -> Iterator[list[bytes]]:
    """The messages of one announcement: its payload in parts, then itself."""
    if event.payload:
        for body in parts(event.sequence, event.payload):
            yield frames(event.records, incarnation, event.sequence, 0, body)
    yield frames(event.topic, incarnation, event.sequence, event.previous, event.body)


def heads(incarnation: str, told: Heads) -> list[bytes]:
    """The message of the heads: a subscriber that has all of them has missed nothing."""
    return frames(HEADS, incarnation, told.sequence, 0, msgpack.packb([told.before, dict(told.last)]))


def heads_of(event: Received) -> Heads:
    """The heads in a message under `master.heads`. Raises MalformedError."""
    before, last = _unpacked(event.body, 2)
    if type(before) is not int or type(last) is not dict:
        raise MalformedError("heads are a number and a map")
    for topic, sequence in last.items():
        if type(topic) is not str or type(sequence) is not int:
            raise MalformedError("heads name topics, and numbers")
    return Heads(before, event.sequence, last)


def parts(number: int, data: bytes) -> Iterator[bytes]:
    """The bodies in which large data are sent."""
    count = max(1, -(-len(data) // PART_BYTES))
    for part in range(count):
        packed: bytes = msgpack.packb([number, part, count, data[part * PART_BYTES : (part + 1) * PART_BYTES]])
        yield packed


def part_of(event: Received) -> Part:
    """One part. Raises MalformedError."""
    number, part, count, data = _unpacked(event.body, 4)
    whole = type(number) is int and type(part) is int and type(count) is int and type(data) is bytes
    if not whole or not 0 <= part < count <= MAX_PARTS:
        raise MalformedError("a part is its number, which of how many, and bytes")
    return Part(number, part, count, data)


def record_of(body: bytes) -> list[Any]:
    """The record in the body of an event of the log. Raises MalformedError."""
    record = _unpacked(body, 1)
    return list(record)


def _unpacked(body: bytes, least: int) -> Any:
    try:
        value = msgpack.unpackb(body, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedError("the body of an event is not msgpack as it should be") from error
    if type(value) is not list or len(value) < least:
        raise MalformedError("the body of an event is no array, or too short")
    return value[:least] if least > 1 else value
