"""`protocol/vectors.json`: the bytes of every message, for those who write a worker in another language.

`python -m protocol.vectors` writes it anew. An example has the message's fields by name and, since order is what
travels, its body as an array, with bytes as {"hex": …}; then its three frames in hex. A skipped one is of a later
version, and shows what is read of it. A refused one has frames that nobody may accept, and why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgpack

from protocol.fields import MAX_ITEMS
from protocol.messages import (
    ACCEPTED,
    DONE,
    FAILED,
    GONE,
    KEPT,
    LIMITED,
    LOST,
    STALE,
    TYPES,
    VERSION,
    Assignment,
    BudgetReport,
    Bye,
    Caller,
    Committed,
    Drain,
    End,
    Entry,
    Events,
    Heartbeat,
    Hello,
    JobGiven,
    Message,
    Passed,
    PeerWord,
    ProgressMade,
    Quit,
    Refused,
    Replay,
    Report,
    Result,
    Revoke,
    Spent,
    StandbyNotice,
    Status,
    Step,
    Verdict,
    Welcome,
    encode,
)

FILE: Final = Path(__file__).with_name("vectors.json")

_INCARNATION = "5a17c0de5a17c0de"
_TOKEN = f"{_INCARNATION}:7"
_WHO = "address:127.0.0.1"
_BUDGET = BudgetReport(_WHO, "followers/ids", 15, 14, 1_700_000_900, 899_000)

EXAMPLES: Final[dict[str, Message]] = {
    "hello": Hello(
        "alpha",
        "3f9c",
        "twitter",
        ["F", "A"],
        2,
        [Caller("F", _WHO, "followers/ids"), Caller("A", _WHO, "users/lookup")],
        [],
        [],
    ),
    "hello that still holds a job": Hello(
        "alpha",
        "3f9c",
        "twitter",
        ["F"],
        1,
        [Caller("F", _WHO, "followers/ids")],
        [Spent(_TOKEN, 4, 2, 1500)],
        [_BUDGET],
    ),
    "progress": ProgressMade([Step(_TOKEN, 1, 5000, "1467500000000000000", 38_112, [], 1)], [_BUDGET]),
    "progress of an analysis": ProgressMade(
        [Step(_TOKEN, 3, 300, "300", 91_004, ["22013880", "9223372036854775807", "did:plc:é"], 4)], []
    ),
    "progress with the page for those who listen": ProgressMade(
        [Step(_TOKEN, 1, 2, "1467500000000000000", 51, [], 1, b"\x1f\x8b\x08...")], []
    ),
    "result, done": Result([End(_TOKEN, DONE, 2, 5120, "complete", [], 2, "")], [_BUDGET]),
    "result, done and stored": Result([End(_TOKEN, DONE, 2, 5120, "complete", [], 2, "", stored=1)], [_BUDGET]),
    "result, the account is protected": Result([End(_TOKEN, DONE, 1, 0, "protected", [], 1, "")], []),
    "result, the grant is spent": Result([End(_TOKEN, LIMITED, 0, 5000, "", [], 4, "")], []),
    "result, the try failed": Result([End(_TOKEN, FAILED, 0, 5000, "", [], 4, "503 four times")], []),
    "result, a segment is gone": Result([End(_TOKEN, LOST, 0, 5000, "", [], 0, "segment not found")], []),
    "heartbeat": Heartbeat("3f9c", 2, [Spent(_TOKEN, 4, 1, 250)], [_BUDGET]),
    "heartbeat of one who is counted by nobody": Heartbeat(
        "3f9c", 2, [], [BudgetReport(_WHO, "followers/ids", -1, 0, 0, 0)]
    ),
    "heartbeat of one whose requests were not all answered": Heartbeat(
        "3f9c", 2, [], [_BUDGET._replace(unanswered=3, counted=2)]
    ),
    "bye": Bye("3f9c"),
    "status": Status("status"),
    "replay": Replay(["job.", "timeline."], "9c0ffee1ced6e4e5", _INCARNATION, 41, 1000),
    "passed": Passed("indexer", "9c0ffee1ced6e4e5", 43),
    "passed, and gone for good": Passed("indexer", "9c0ffee1ced6e4e5", -1),
    "events": Events(
        "9c0ffee1ced6e4e5", KEPT, 1, 43, _INCARNATION, 43, [Entry(43, 40, "job.done", bytes.fromhex("97a154"))]
    ),
    "events, but the log does not reach back so far": Events("9c0ffee1ced6e4e5", GONE, 42, 43, _INCARNATION, 43, []),
    "welcome": Welcome(_INCARNATION, 3, "main", 1000, "9c0ffee1ced6e4e5"),
    "standby, which knows who leads": StandbyNotice(3, "10.0.0.1:8000", "main", 1000, "9c0ffee1ced6e4e5"),
    "standby, while nobody leads": StandbyNotice(3, "", "main", 1000, "9c0ffee1ced6e4e5"),
    "peer, which leads": PeerWord(0, "10.0.0.1:8000", "main", "9c0ffee1ced6e4e5", 1, 3, 4711, 2, 1, 0, 0),
    "peer, which a person wants to lead": PeerWord(1, "10.0.0.2:8001", "main", "9c0ffee1ced6e4e5", 0, 3, 0, 2, 1, 1, 0),
    "job, new": JobGiven(3, [Assignment(_TOKEN, "F", "22013880", 1, 0, 0, "", [], _WHO, 4)]),
    "job, begun by another": JobGiven(
        3,
        [Assignment(_TOKEN, "F", "22013880", 1, 1, 5000, "1467500000000000000", [["04d2:3", 38_112]], _WHO, 4)],
    ),
    "committed": Committed(3, [Verdict(_TOKEN, 1, ACCEPTED, 8)]),
    "committed, of a lease that is over": Committed(3, [Verdict(_TOKEN, 2, STALE, 0)]),
    "committed, the answer to a heartbeat": Committed(3, []),
    "revoke": Revoke(3, [_TOKEN], "not yours, or no progress"),
    "drain": Drain(3),
    "quit": Quit(3, "the crawl is done"),
    "error": Refused("who", "this master does not know you: say HELLO first"),
    "report": Report('{"crawl": "main", "state": "running"}'),
}


def _body(*fields: Any) -> bytes:
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    return packed


def _refused() -> dict[str, tuple[str, list[bytes]]]:
    """By name: why it is refused, and its frames."""
    bye, drain, beat, progress = TYPES[Bye], TYPES[Drain], TYPES[Heartbeat], TYPES[ProgressMade]
    whole = _body("3f9c")
    three, one, number = (
        "a message is three frames",
        "the version is the byte 01",
        "a number is an int from 0 to 2^53 - 1",
    )
    return {
        "no frames": (three, []),
        "two frames": (three, [VERSION, bye]),
        "four frames": (three, [VERSION, bye, whole, b""]),
        "another version": (one, [b"\x02", bye, whole]),
        "an empty version": (one, [b"", bye, whole]),
        "an unknown type": ("there is no such type", [VERSION, b"HOLA", whole]),
        "a type in small letters": ("types are in capitals", [VERSION, b"bye", whole]),
        "an empty body": ("the body is one msgpack array", [VERSION, bye, b""]),
        "bytes that msgpack has no meaning for": ("c1 is no msgpack", [VERSION, bye, b"\xc1"]),
        "a body that is cut": ("the array lacks its last byte", [VERSION, bye, whole[:-1]]),
        "a body with more behind it": ("nothing may be behind the array", [VERSION, bye, whole + b"\x00"]),
        "a body that is a map": ("fields go by their order", [VERSION, bye, msgpack.packb({"run": "3f9c"})]),
        "a body that is no array": ("a single value is no array", [VERSION, bye, msgpack.packb("3f9c")]),
        "too few fields": ("HEARTBEAT has four fields", [VERSION, beat, _body("3f9c", 2)]),
        "bytes for a text": ("a word is str, not bin", [VERSION, bye, _body(b"3f9c")]),
        "a text that is not UTF-8": ("a str is UTF-8", [VERSION, bye, b"\x91\xa2\xff\xfe"]),
        "a text that is too long": ("a word has at most 256 bytes", [VERSION, bye, _body("x" * 257)]),
        "a text that is too long in bytes": ("256 bytes, not characters", [VERSION, bye, _body("é" * 129)]),
        "nil for a number": (number, [VERSION, drain, _body(None)]),
        "true for a number": (number, [VERSION, drain, _body(True)]),
        "a float for a number": (number, [VERSION, drain, _body(3.0)]),
        "a negative number": (number, [VERSION, drain, _body(-1)]),
        "a number beyond 2^53": (number, [VERSION, drain, _body(1 << 53)]),
        "an account without a letter": (
            "an account has 1 to 255 bytes",
            [VERSION, progress, _body([["t:1", 1, 1, "", 0, [""], 1]], [])],
        ),
        "a number of records beyond 2^48": (
            "records are below 2^48",
            [VERSION, progress, _body([["t:1", 1, 1 << 48, "", 0, [], 1]], [])],
        ),
        "an item that is too short": (
            "only payload may be missing of a step",
            [VERSION, progress, _body([["t:1", 1, 1]], [])],
        ),
        "too many items": (
            "a list has at most 4,096 items",
            [VERSION, TYPES[Revoke], _body(3, [""] * (MAX_ITEMS + 1), "")],
        ),
        "an unknown way to end": (
            "an end is done, limited, failed or lost",
            [VERSION, TYPES[Result], _body([["t:1", "gone", 0, 0, "", [], 0, ""]], [])],
        ),
        "an unknown outcome": (
            "outcomes are a closed set",
            [VERSION, TYPES[Result], _body([["t:1", DONE, 1, 0, "rich", [], 0, ""]], [])],
        ),
        "a job of an unknown operation": (
            "a worker gets only what it offered",
            [VERSION, TYPES[JobGiven], _body(3, [["t:1", "X", "12", 0, 0, 0, "", [], "w", 1]])],
        ),
    }


SKIPPED: Final[dict[str, tuple[list[bytes], Message]]] = {
    "an operation of a later version, and its caller": (
        [
            VERSION,
            TYPES[Hello],
            _body("a", "r", "twitter", ["X", "F"], 1, [["X", "w", "later"], ["F", "w", "followers/ids"]], [], []),
        ],
        Hello("a", "r", "twitter", ["F"], 1, [Caller("F", "w", "followers/ids")], [], []),
    ),
    "a field of a later version": ([VERSION, TYPES[Bye], _body("3f9c", {"a": ["later", "field"]})], Bye("3f9c")),
}
"""Frames of a later version, and what this one reads of them."""

REFUSED: Final = _refused()


def _named(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _named(one) for name, one in value._asdict().items()}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_named(one) for one in value] if isinstance(value, list) else value


def _ordered(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_ordered(one) for one in value] if isinstance(value, list | tuple) else value


def document() -> str:
    """The whole file, as text."""
    examples = [
        {
            "name": name,
            "type": TYPES[type(message)].decode(),
            "fields": _named(message),
            "body": _ordered(message),
            "frames": [frame.hex() for frame in encode(message)],
        }
        for name, message in EXAMPLES.items()
    ]
    skipped = [
        {"name": name, "frames": [frame.hex() for frame in frames], "read": _named(message)}
        for name, (frames, message) in SKIPPED.items()
    ]
    refused = [
        {"name": name, "why": why, "frames": [frame.hex() for frame in frames]}
        for name, (why, frames) in REFUSED.items()
    ]
    whole = {"version": VERSION[0], "examples": examples, "skipped": skipped, "refused": refused}
    return json.dumps(whole, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
