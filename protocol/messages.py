"""The messages between masters and workers: their fields, their limits, their bytes.

A message is three frames: the version (one byte), the type (its name in ASCII), the body (a msgpack array of the fields
in the order given here). Fields added later come at the end; whoever does not know them skips them. `docs/protocol.md`
tells what each means and when it is sent; `protocol/vectors.json` holds the bytes of every one.

Decoding checks the type and the bounds of every field and raises MalformedError, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from protocol.errors import MalformedError
from protocol.jobs import Outcome

VERSION = b"\x01"
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_ITEMS = 4096
"""Items in one message: jobs, steps, tokens, budgets."""
MAX_FOUND = 65_536
"""Accounts that one page leads to."""
MAX_SEGMENTS = 65_536
"""Leases of one job that stored something."""
MAX_NUMBER = 1 << 53
MAX_RECORDS = 1 << 48
"""Records of one job; the ledger keeps their number in 48 bits."""
MAX_WORD = 256
"""Bytes of a name, a token, an endpoint."""
MAX_ACCOUNT = 255
"""Bytes of an account; one has at least one."""
MAX_CURSOR = 4096
MAX_WORDS = 4096
"""Bytes of an error's words."""


class Spent(NamedTuple):
    """A token in hand. Numbers of requests since the lease began; `idle_ms` since its last progress.

    A request is spent when its answer is in the budgets of the same message, or it was given up; not while it is
    under way.
    """

    token: str
    granted: int
    spent: int
    idle_ms: int


class BudgetReport(NamedTuple):
    """What a service said of a budget. A `limit` of -1: it said nothing, and counts nothing that we can see.

    `window` is the reset time as the service wrote it, the name of the window; `reset_in_ms` is how long from the
    sending of this message until then, by the worker's monotonic clock.
    """

    who: str
    endpoint: str
    limit: int
    remaining: int
    window: int
    reset_in_ms: int


class Caller(NamedTuple):
    """Who the service will count when the worker calls the endpoint of an operation."""

    operation: str
    who: str
    endpoint: str


class Step(NamedTuple):
    """A page that is stored. `step` and `records` (received) are absolute over all leases of the job; `length` is that
    of the segment."""

    token: str
    step: int
    records: int
    cursor: str
    length: int
    found: list[str]
    spent: int


class End(NamedTuple):
    """How a lease ended. `how` is one of `ENDS`; `outcome` a value of `Outcome` when done; `words` an error's."""

    token: str
    how: str
    step: int
    records: int
    outcome: str
    found: list[str]
    spent: int
    words: str


DONE, LIMITED, FAILED, LOST = "done", "limited", "failed", "lost"
ENDS = frozenset((DONE, LIMITED, FAILED, LOST))
"""done: stored, with its receipt. limited: the grant is empty. failed: the try is. lost: a segment is gone."""


class Assignment(NamedTuple):
    """A job with its token. `segments` are [token, length] pairs; `granted` requests may be spent as `who`."""

    token: str
    operation: str
    user: str
    depth: int
    steps: int
    records: int
    cursor: str
    segments: list[list[Any]]
    who: str
    granted: int


class Verdict(NamedTuple):
    """What became of a step or an end. `status`: `ACCEPTED` or `STALE`; `granted`: the requests granted so far."""

    token: str
    step: int
    status: int
    granted: int


STALE, ACCEPTED = 0, 1


class Hello(NamedTuple):
    """A worker presents itself, or again to a master that asked who it is."""

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


class Welcome(NamedTuple):
    """A master knows the worker from now on. Asked again, a worker answers with a HEARTBEAT at once.

    `ledger` is the id of the crawl's ledger: a worker whose dataset belongs to another one must not work.
    """

    incarnation: str
    epoch: int
    crawl: str
    heartbeat_ms: int
    ledger: str


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
    | Welcome
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
    Welcome: b"WELCOME",
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
    reader = _READERS.get(kind)
    if reader is None:
        raise MalformedError(f"there is no message type {kind[:32]!r}")
    if len(body) > MAX_BODY_BYTES:
        raise MalformedError(f"a body of {len(body)} bytes is over the limit of {MAX_BODY_BYTES}")
    try:
        message: Message = reader(msgpack.unpackb(body, strict_map_key=True))
        return message
    except MalformedError as error:
        raise MalformedError(f"{kind.decode()}: {error}") from error
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedError(f"{kind.decode()}: not msgpack as it should be: {type(error).__name__}") from error


Reader = Callable[[Any], Any]


def _number(value: Any, low: int = 0) -> int:
    if type(value) is not int or not low <= value < MAX_NUMBER:
        raise MalformedError("a number is missing, negative or beyond 2^53")
    return value


def _limit(value: Any) -> int:
    return _number(value, -1)


def _records_number(value: Any) -> int:
    if _number(value) >= MAX_RECORDS:
        raise MalformedError("a number of records is beyond 2^48")
    return int(value)


def _text(limit: int, least: int = 0) -> Reader:
    def read(value: Any) -> str:
        if type(value) is not str or not least <= len(value) <= limit:
            raise MalformedError(f"a text is missing, too short or longer than {limit} bytes")
        if not value.isascii() and len(value.encode()) > limit:
            raise MalformedError(f"a text is longer than {limit} bytes")
        return value

    return read


def _list(reader: Reader, most: int = MAX_ITEMS) -> Reader:
    def read(value: Any) -> list[Any]:
        if type(value) is not list or len(value) > most:
            raise MalformedError(f"a list is missing or longer than {most} items")
        return [reader(item) for item in value]

    return read


def _fields(shape: Callable[..., Any], *readers: Reader) -> Reader:
    wanted = len(readers)

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) < wanted:
            raise MalformedError(f"an array of {wanted} fields is missing or too short")
        return shape(*[reader(item) for reader, item in zip(readers, value, strict=False)])

    return read


def _one_of(words: frozenset[str]) -> Reader:
    def read(value: Any) -> str:
        if type(value) is not str or value not in words:
            raise MalformedError(f"a word is not one of {', '.join(sorted(words))}")
        return value

    return read


_word = _text(MAX_WORD)
_cursor = _text(MAX_CURSOR)
_words = _text(MAX_WORDS)
_operation = _one_of(frozenset("TFAU"))
_tokens = _list(_word)
_account = _text(MAX_ACCOUNT, least=1)
_accounts = _list(_account, MAX_FOUND)
_outcome = _one_of(frozenset(outcome.value for outcome in Outcome) | {""})
_pair = _fields(lambda token, length: [token, length], _word, _number)
_segments = _list(_pair, MAX_SEGMENTS)
_spent = _list(_fields(Spent, _word, _number, _number, _number))
_budgets = _list(_fields(BudgetReport, _word, _word, _limit, _number, _number, _number))
_callers = _list(_fields(Caller, _operation, _word, _word))
_steps = _list(_fields(Step, _word, _number, _records_number, _cursor, _number, _accounts, _number))
_ends = _list(_fields(End, _word, _one_of(ENDS), _number, _records_number, _outcome, _accounts, _number, _words))
_assignments = _list(
    _fields(Assignment, _word, _operation, _account, _number, _number, _number, _cursor, _segments, _word, _number)
)
_verdicts = _list(_fields(Verdict, _word, _number, _number, _number))
_operations = _list(_operation)

_READERS: dict[bytes, Reader] = {
    b"HELLO": _fields(Hello, _word, _word, _word, _operations, _number, _callers, _spent, _budgets),
    b"PROGRESS": _fields(ProgressMade, _steps, _budgets),
    b"RESULT": _fields(Result, _ends, _budgets),
    b"HEARTBEAT": _fields(Heartbeat, _word, _number, _spent, _budgets),
    b"BYE": _fields(Bye, _word),
    b"STATUS": _fields(Status, _word),
    b"WELCOME": _fields(Welcome, _word, _number, _word, _number, _word),
    b"JOB": _fields(JobGiven, _number, _assignments),
    b"COMMITTED": _fields(Committed, _number, _verdicts),
    b"REVOKE": _fields(Revoke, _number, _tokens, _words),
    b"DRAIN": _fields(Drain, _number),
    b"QUIT": _fields(Quit, _number, _words),
    b"ERROR": _fields(Refused, _word, _words),
    b"REPORT": _fields(Report, _text(MAX_BODY_BYTES)),
}
