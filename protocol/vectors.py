"""`protocol/vectors.json`: the bytes of every message, for those who write a worker in another language.

`python -m protocol.vectors` writes it anew. An example has the message's fields by name and, since order is what
travels, its body as an array, with bytes as {"hex": …}; then its three frames in hex. One of another version has the
frames of an earlier or a later one, and the fields that are read from them. A refused one has frames that nobody may
accept, and the rule that they break.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

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
    MAX_RECORDS,
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


def _other_versions() -> dict[str, tuple[list[bytes], Message]]:
    """Frames of an earlier or a later version, and what is read from them."""
    hello, progress, result = TYPES[Hello], TYPES[ProgressMade], TYPES[Result]
    f_caller, unknown = ["F", _WHO, "followers/ids"], ["X", _WHO, "likes/list"]
    read = Hello("alpha", "3f9c", "twitter", ["F"], 2, [Caller(*f_caller)], [], [])
    step: list[Any] = [_TOKEN, 1, 5000, "14675", 38_112, [], 1]
    end: list[Any] = [_TOKEN, LIMITED, 0, 5000, "", [], 4, ""]
    budget: list[Any] = [_WHO, "followers/ids", 15, 14, 1_700_000_900, 899_000]
    return {
        "hello of a later worker: operations that are not known are skipped, and their callers": (
            [VERSION, hello, _body("alpha", "3f9c", "twitter", ["X", "F"], 2, [unknown, f_caller], [], [])],
            read,
        ),
        "hello of a worker that has no operation that is known: it gets no jobs": (
            [VERSION, hello, _body("alpha", "3f9c", "twitter", ["X"], 2, [unknown], [], [])],
            read._replace(operations=[], callers=[]),
        ),
        "a message with a field more": ([VERSION, TYPES[Bye], _body("3f9c", 7)], Bye("3f9c")),
        "an item with a field more": (
            [VERSION, progress, _body([[*step, b"", "more"]], [])],
            ProgressMade([Step(*step)], []),
        ),
        "a page without its optional field": ([VERSION, progress, _body([step], [])], ProgressMade([Step(*step)], [])),
        "an end without its optional fields": ([VERSION, result, _body([end], [])], Result([End(*end)], [])),
        "a budget without its optional fields": (
            [VERSION, result, _body([end], [budget])],
            Result([End(*end)], [BudgetReport(*budget)]),
        ),
    }


OTHER_VERSIONS: Final = _other_versions()


class Broken(NamedTuple):
    """Frames that nobody may accept, and the rule that they break."""

    why: str
    frames: list[bytes]


_NOT_THREE: Final = "a message has exactly three frames"
_ONE_VERSION: Final = "the version is the one byte 01; only HELLO of another version is answered, by ERROR version"
_TYPES_LISTED: Final = "the type is one of those listed, in capitals"
_ONE_ARRAY: Final = "the body is one msgpack array, and nothing behind it"
_ALL_FIELDS: Final = "fewer fields than listed, but for optional ones, are an error, of a body and of an item"
_WORD_RULE: Final = "a word is msgpack str, in UTF-8, of at most 256 bytes"
_NUMBER_RULE: Final = "a number is msgpack int, from 0 to 2^53 - 1; never nil, a bool or a float"
_CLOSED: Final = "the word is not of its closed set"
_FEW_RECORDS: Final = "the records of a job are fewer than 2^48"


def _refused() -> dict[str, Broken]:
    bye, drain, beat, progress = TYPES[Bye], TYPES[Drain], TYPES[Heartbeat], TYPES[ProgressMade]
    job = TYPES[JobGiven]
    whole = _body("3f9c")
    return {
        "no frames": Broken(_NOT_THREE, []),
        "two frames": Broken(_NOT_THREE, [VERSION, bye]),
        "four frames": Broken(_NOT_THREE, [VERSION, bye, whole, b""]),
        "another version": Broken(_ONE_VERSION, [b"\x02", bye, whole]),
        "an empty version": Broken(_ONE_VERSION, [b"", bye, whole]),
        "an unknown type": Broken(_TYPES_LISTED, [VERSION, b"HOLA", whole]),
        "a type in small letters": Broken(_TYPES_LISTED, [VERSION, b"bye", whole]),
        "an empty body": Broken(_ONE_ARRAY, [VERSION, bye, b""]),
        "bytes that msgpack has no meaning for": Broken(_ONE_ARRAY, [VERSION, bye, b"\xc1"]),
        "a body that is cut": Broken(_ONE_ARRAY, [VERSION, bye, whole[:-1]]),
        "a body with more behind it": Broken(_ONE_ARRAY, [VERSION, bye, whole + b"\x00"]),
        "a body that is a map": Broken(_ONE_ARRAY, [VERSION, bye, msgpack.packb({"run": "3f9c"})]),
        "a body that is no array": Broken(_ONE_ARRAY, [VERSION, bye, msgpack.packb("3f9c")]),
        "too few fields": Broken(_ALL_FIELDS, [VERSION, beat, _body("3f9c", 2)]),
        "bytes for a text": Broken(_WORD_RULE, [VERSION, bye, _body(b"3f9c")]),
        "a text that is not UTF-8": Broken(_WORD_RULE, [VERSION, bye, b"\x91\xa2\xff\xfe"]),
        "a text that is too long": Broken(_WORD_RULE, [VERSION, bye, _body("x" * 257)]),
        "a text that is too long in bytes": Broken(_WORD_RULE, [VERSION, bye, _body("é" * 129)]),
        "nil for a number": Broken(_NUMBER_RULE, [VERSION, drain, _body(None)]),
        "true for a number": Broken(_NUMBER_RULE, [VERSION, drain, _body(True)]),
        "a float for a number": Broken(_NUMBER_RULE, [VERSION, drain, _body(3.0)]),
        "a negative number": Broken(_NUMBER_RULE, [VERSION, drain, _body(-1)]),
        "a number beyond 2^53": Broken(_NUMBER_RULE, [VERSION, drain, _body(1 << 53)]),
        "an account without a letter": Broken(
            "an account has 1 to 255 bytes", [VERSION, progress, _body([["t:1", 1, 1, "", 0, [""], 1]], [])]
        ),
        "a number of records that is 2^48": Broken(
            _FEW_RECORDS, [VERSION, progress, _body([["t:1", 1, MAX_RECORDS, "", 0, [], 1]], [])]
        ),
        "an end with a number of records that is 2^48": Broken(
            _FEW_RECORDS, [VERSION, TYPES[Result], _body([["t:1", LIMITED, 0, MAX_RECORDS, "", [], 0, ""]], [])]
        ),
        "a job with a number of records that is 2^48": Broken(
            _FEW_RECORDS, [VERSION, job, _body(3, [["t:1", "F", "1", 0, 0, MAX_RECORDS, "", [], _WHO, 4]])]
        ),
        "an item that is too short": Broken(_ALL_FIELDS, [VERSION, progress, _body([["t:1", 1, 1]], [])]),
        "too many items": Broken(
            "a list has at most 4,096 items, unless said otherwise",
            [VERSION, TYPES[Revoke], _body(3, [""] * (MAX_ITEMS + 1), "")],
        ),
        "an unknown way to end": Broken(
            _CLOSED, [VERSION, TYPES[Result], _body([["t:1", "gone", 0, 0, "", [], 0, ""]], [])]
        ),
        "an unknown outcome": Broken(
            _CLOSED, [VERSION, TYPES[Result], _body([["t:1", DONE, 1, 0, "rich", [], 0, ""]], [])]
        ),
        "an unknown operation of a job": Broken(
            f"{_CLOSED}: a master gives only operations that the worker's HELLO offers",
            [VERSION, job, _body(3, [["t:1", "X", "1", 0, 0, 0, "", [], _WHO, 4]])],
        ),
    }


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
    others = [
        {
            "name": name,
            "type": TYPES[type(message)].decode(),
            "fields": _named(message),
            "frames": [frame.hex() for frame in frames],
        }
        for name, (frames, message) in OTHER_VERSIONS.items()
    ]
    refused = [
        {"name": name, "why": broken.why, "frames": [frame.hex() for frame in broken.frames]}
        for name, broken in REFUSED.items()
    ]
    whole = {"version": VERSION[0], "examples": examples, "other_versions": others, "refused": refused}
    return json.dumps(whole, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
