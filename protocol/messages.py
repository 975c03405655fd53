"""The messages between masters, workers and tools: their fields, their limits, their bytes.

A message is three frames: the version (one byte), the type (its name in ASCII), the body (a msgpack array of the fields
in the order given here). Fields added later come at the end; whoever does not know them skips them. `docs/protocol.md`
tells what each means and when it is sent; `protocol/vectors.json` holds the bytes of every one.

Decoding checks the type and the bounds of every field and raises MalformedError, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgpack

from protocol.errors import MalformedError
from protocol.fields import ArrayOf, Bytes, Known, ListOf, Number, OneOf, Shape, Text
from protocol.jobs import Operation, Outcome
from protocol.records import (
    ACCEPTED as ACCEPTED,
    DONE as DONE,
    ENDS as ENDS,
    FAILED as FAILED,
    LIMITED as LIMITED,
    LOST as LOST,
    STALE as STALE,
    Assignment as Assignment,
    BudgetReport as BudgetReport,
    Caller as Caller,
    End as End,
    Entry as Entry,
    Spent as Spent,
    Step as Step,
    Verdict as Verdict,
)

VERSION = b"\x01"
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_FOUND = 65_536
"""Accounts that one page leads to."""
MAX_SEGMENTS = 65_536
"""Leases of one job that stored something."""
MAX_RECORDS = 1 << 48
"""The records of one job are fewer; the ledger keeps their number in 48 bits."""
MAX_WORD = 256
"""Bytes of a name, a token, an endpoint."""
MAX_ACCOUNT = 255
"""Bytes of an account; one has at least one."""
MAX_CURSOR = 4096
MAX_WORDS = 4096
"""Bytes of an error's words."""
MAX_PAYLOAD_BYTES = 1024 * 1024
"""Bytes of a page that rides along."""
MAX_TOPICS = 32
"""Topics of one subscriber."""


class Hello(NamedTuple):
    """A worker presents itself, or again to a master that asked who it is. Decoding skips the operations that are not
    known, and their callers: the worker is of a later version."""

    name: str
    run: str
    service: str
    operations: list[str]
    room: int
    callers: list[Caller]
    held: list[Spent]
    budgets: list[BudgetReport]


class ProgressMade(NamedTuple):
    """Pages that are stored, of any number of jobs."""

    steps: list[Step]
    budgets: list[BudgetReport]


class Result(NamedTuple):
    """Leases that ended."""

    ends: list[End]
    budgets: list[BudgetReport]


class Heartbeat(NamedTuple):
    """A worker lives. `held` lists every token in hand, ended ones too until they are committed."""

    run: str
    room: int
    held: list[Spent]
    budgets: list[BudgetReport]


class Bye(NamedTuple):
    """A worker leaves; what it held and did not end goes back."""

    run: str


class Status(NamedTuple):
    """A tool asks. `question` is a word; the answer is a REPORT."""

    question: str


class Replay(NamedTuple):
    """A subscriber asks for what was announced after `sequence`, of topics that begin so; for none of it with `most` 0,
    only where the log is. `ledger` and `incarnation` are those of its position, or ""."""

    topics: list[str]
    ledger: str
    incarnation: str
    sequence: int
    most: int


class Passed(NamedTuple):
    """A subscriber has stored all up to there, under its name: the log need not keep that for it. -1: it will not come
    again."""

    name: str
    ledger: str
    sequence: int


class Events(NamedTuple):
    """The answer to a REPLAY. `how` is one of `REPLAYS`. All of the topics up to `covered` is in `entries`; that
    sequence was given by `incarnation`. `first` and `head` are the ends of what is kept of the log."""

    ledger: str
    how: str
    first: int
    head: int
    incarnation: str
    covered: int
    entries: list[Entry]


KEPT, GONE, OTHER = "kept", "gone", "other"
REPLAYS = frozenset((KEPT, GONE, OTHER))
"""kept: here it is. gone: the log does not reach back so far. other: that position is of another history."""


class Welcome(NamedTuple):
    """A master knows the worker from now on. Asked again, a worker answers with a HEARTBEAT at once.

    `ledger` is the id of the crawl's ledger: a worker whose dataset belongs to another one must not work.
    """

    incarnation: str
    epoch: int
    crawl: str
    heartbeat_ms: int
    ledger: str


class StandbyNotice(NamedTuple):
    """A master knows the worker and does not lead. `leader` is where the one that does can be reached, HOST:PORT, or
    "" when that is not known; `epoch` is the highest that this master knows. It gives no orders."""

    epoch: int
    leader: str
    crawl: str
    heartbeat_ms: int
    ledger: str


class PeerWord(NamedTuple):
    """A master of a pair tells the other how it stands, some times a second.

    `ha` is its number in the pair, `address` where it listens. `leads` is 1 while it leads, in `epoch`, with `beat` the
    last that it wrote; else `epoch` is the highest that it knows. `workers` were heard lately. `able` is 1 when the
    ledger answered it lately, `wants` when a person asked for it to lead, `draining` when one told it to hand out no
    more.
    """

    ha: int
    address: str
    crawl: str
    ledger: str
    leads: int
    epoch: int
    beat: int
    workers: int
    able: int
    wants: int
    draining: int


class JobGiven(NamedTuple):
    """Jobs for this worker."""

    epoch: int
    jobs: list[Assignment]


class Committed(NamedTuple):
    """What the ledger has, or will never take: the worker may forget it, and go on to the next page."""

    epoch: int
    verdicts: list[Verdict]


class Revoke(NamedTuple):
    """These tokens are nobody's any more: stop, keep nothing of them, send nothing for them."""

    epoch: int
    tokens: list[str]
    reason: str


class Drain(NamedTuple):
    """Finish what is in hand; there will be no more."""

    epoch: int


class Quit(NamedTuple):
    """The crawl is over, or the master will not have this worker: leave."""

    epoch: int
    reason: str


class Refused(NamedTuple):
    """Something is wrong. Codes: `who` (say HELLO first), `name-in-use`, `full`, `service`, `version`, `command`."""

    code: str
    words: str


class Report(NamedTuple):
    """The answer to a STATUS: a JSON document, so that tools can grow without a new version."""

    document: str


Message = (
    Hello
    | ProgressMade
    | Result
    | Heartbeat
    | Bye
    | Status
    | PeerWord
    | Replay
    | Passed
    | Events
    | Welcome
    | StandbyNotice
    | JobGiven
    | Committed
    | Revoke
    | Drain
    | Quit
    | Refused
    | Report
)
TYPES: dict[type[Message], bytes] = {
    Hello: b"HELLO",
    ProgressMade: b"PROGRESS",
    Result: b"RESULT",
    Heartbeat: b"HEARTBEAT",
    Bye: b"BYE",
    Status: b"STATUS",
    PeerWord: b"PEER",
    Replay: b"REPLAY",
    Passed: b"PASSED",
    Events: b"EVENTS",
    Welcome: b"WELCOME",
    StandbyNotice: b"STANDBY",
    JobGiven: b"JOB",
    Committed: b"COMMITTED",
    Revoke: b"REVOKE",
    Drain: b"DRAIN",
    Quit: b"QUIT",
    Refused: b"ERROR",
    Report: b"REPORT",
}
"""The type frame of each message."""


def encode(message: Message) -> list[bytes]:
    """The three frames of a message."""
    return [VERSION, TYPES[type(message)], msgpack.packb(tuple(message), use_bin_type=True)]


def decode(frames: Sequence[bytes]) -> Message:
    """The message of three frames. Raises MalformedError, in words fit for a log, for whatever is not one."""
    if len(frames) != 3:
        raise MalformedError(f"a message has 3 frames, not {len(frames)}")
    version, kind, body = frames
    if version != VERSION:
        raise MalformedError(f"version {version[:8]!r} is not spoken here, {VERSION!r} is")
    shape = _SHAPES.get(kind)
    if shape is None:
        raise MalformedError(f"there is no message type {kind[:32]!r}")
    if len(body) > MAX_BODY_BYTES:
        raise MalformedError(f"a body of {len(body)} bytes is over the limit of {MAX_BODY_BYTES}")
    try:
        message: Message = shape.one(msgpack.unpackb(body, strict_map_key=True))
        return message
    except MalformedError as error:
        raise MalformedError(f"{kind.decode()}: {error}") from error
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedError(f"{kind.decode()}: not msgpack as it should be: {type(error).__name__}") from error


_number, _limit, _records_number = Number(), Number(-1), Number(0, MAX_RECORDS)
_word = Text(MAX_WORD)
_cursor = Text(MAX_CURSOR)
_words = Text(MAX_WORDS)
_LETTERS = frozenset(operation.value for operation in Operation)
_operation = OneOf(_LETTERS)
_tokens = ListOf(_word)
_account = Text(MAX_ACCOUNT, least=1)
_accounts = ListOf(_account, MAX_FOUND)
_outcome = OneOf(frozenset(outcome.value for outcome in Outcome) | {""})
_pair = ArrayOf(lambda token, length: [token, length], _word, _number)
_segments = ListOf(_pair, MAX_SEGMENTS)
_spent = ListOf(ArrayOf(Spent, _word, _number, _number, _number))
_budgets = ListOf(ArrayOf(BudgetReport, _word, _word, _limit, _number, _number, _number, _number, _number, optional=2))
_callers = Known(ListOf(ArrayOf(Caller, _word, _word, _word)), lambda caller: caller.operation in _LETTERS)
_payload = Bytes(MAX_PAYLOAD_BYTES)
_steps = ListOf(
    ArrayOf(Step, _word, _number, _records_number, _cursor, _number, _accounts, _number, _payload, optional=1)
)
_ends = ListOf(
    ArrayOf(
        End,
        _word,
        OneOf(ENDS),
        _number,
        _records_number,
        _outcome,
        _accounts,
        _number,
        _words,
        _payload,
        Number(below=2),
        optional=2,
    )
)
_topics = ListOf(_word, MAX_TOPICS)
_entries = ListOf(ArrayOf(Entry, _number, _number, _word, Bytes(MAX_BODY_BYTES)))
_assignments = ListOf(
    ArrayOf(
        Assignment, _word, _operation, _account, _number, _number, _records_number, _cursor, _segments, _word, _number
    )
)
_verdicts = ListOf(ArrayOf(Verdict, _word, _number, _number, _number))
_operations = Known(ListOf(_word), _LETTERS.__contains__)

_SHAPES: dict[bytes, Shape] = {
    b"HELLO": ArrayOf(Hello, _word, _word, _word, _operations, _number, _callers, _spent, _budgets),
    b"PROGRESS": ArrayOf(ProgressMade, _steps, _budgets),
    b"RESULT": ArrayOf(Result, _ends, _budgets),
    b"HEARTBEAT": ArrayOf(Heartbeat, _word, _number, _spent, _budgets),
    b"BYE": ArrayOf(Bye, _word),
    b"STATUS": ArrayOf(Status, _word),
    b"WELCOME": ArrayOf(Welcome, _word, _number, _word, _number, _word),
    b"STANDBY": ArrayOf(StandbyNotice, _number, _word, _word, _number, _word),
    b"PEER": ArrayOf(
        PeerWord, _number, _word, _word, _word, _number, _number, _number, _number, _number, _number, _number
    ),
    b"REPLAY": ArrayOf(Replay, _topics, _word, _word, _number, _number),
    b"PASSED": ArrayOf(Passed, _word, _word, _limit),
    b"EVENTS": ArrayOf(Events, _word, OneOf(REPLAYS), _number, _number, _word, _number, _entries),
    b"JOB": ArrayOf(JobGiven, _number, _assignments),
    b"COMMITTED": ArrayOf(Committed, _number, _verdicts),
    b"REVOKE": ArrayOf(Revoke, _number, _tokens, _words),
    b"DRAIN": ArrayOf(Drain, _number),
    b"QUIT": ArrayOf(Quit, _number, _words),
    b"ERROR": ArrayOf(Refused, _word, _words),
    b"REPORT": ArrayOf(Report, Text(MAX_BODY_BYTES)),
}
