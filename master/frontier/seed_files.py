"""The intake of a crawl, from files and from its own ledger: transitions of a thousand accounts each.

Every transition is idempotent: a known account is not added twice. So an interrupted intake is simply
restarted.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from master.frontier.traversal import Traversal
from protocol.errors import UsageError
from protocol.jobs import Operation
from protocol.logs import fields
from protocol.numbers import MAX_INT64, whole_number
from storage.ledger.transitions import AddAccounts, AddJobs, Transition

log = logging.getLogger(__name__)

CHUNK = 1000
MAX_LINE_LENGTH = 1000
"""Bytes; a longer line is not an id."""
NAMED_LINES = 20
"""Invalid lines of one file that are reported; the others are only counted."""
MARK = b"\xef\xbb\xbf"
"""The byte order mark that some editors put before a UTF-8 text."""
OTHER_KINDS = (
    (b"\xfd7zXZ\x00", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"BZh", "compressed by bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
"""First bytes of file types that are often mistaken for a file of ids."""


class ReadAhead:
    """An intake of which one transition is read ahead, where waiting for it does no harm; None means not yet."""

    def __init__(self, source: Iterator[Transition]) -> None:
        self._source = source
        self._ready: Transition | None = None
        self._over = False

    def __iter__(self) -> Iterator[Transition | None]:
        return self

    def __next__(self) -> Transition | None:
        if self._ready is None and self._over:
            raise StopIteration
        ready, self._ready = self._ready, None
        return ready

    def fill(self) -> None:
        """Read the next one, if none is ready. Blocks; raises what reading raises."""
        if self._ready is None and not self._over:
            self._ready = next(self._source, None)
            self._over = self._ready is None


@dataclass(slots=True)
class SeedLines:
    """The ids of one file, one per line, plain or gzip; blank lines and `#` comments are skipped. Invalid lines are
    counted, and reported unless `quiet`."""

    path: Path
    bad: int = 0
    good: int = 0
    damaged: str = ""
    quiet: bool = False
    named: bool = False
    """Whether it contains an account, before it is read for the intake."""

    @property
    def wrong(self) -> bool:
        """Whether the user must correct something in it."""
        return bool(self.bad or self.damaged)

    def none(self) -> str:
        """Why it names no account at all, as text; "" when it names one. Counts and reports nothing."""
        probe = SeedLines(self.path, quiet=True)
        if next(iter(probe), None) is not None:
            self.named = True
            return ""
        if probe.damaged:
            return probe.damaged
        with self.path.open("rb") as file:
            head = file.read(MAX_LINE_LENGTH)
        for beginning, kind in OTHER_KINDS:
            if head.startswith(beginning):
                return f"it is {kind}, and plain text or gzip is read"
        if not probe.bad:
            return "it is empty, or has comments alone"
        if b"\r" in head and b"\n" not in head:
            return "its lines end in CR alone, and must end in LF"
        return f"of its lines {probe.bad} are no ids, and none is one"

    def check(self) -> None:
        """Raises UsageError when the file cannot be read, or not twice: a resumed crawl rereads it."""
        if self.path.exists() and not self.path.is_file():
            raise UsageError(f"{self.path} is not a file")
        try:
            with self.path.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}") from error

    def __iter__(self) -> Iterator[str]:
        number = 0
        try:
            with self.path.open("rb") as plain:
                zipped = plain.read(2) == b"\x1f\x8b"
            with gzip.open(self.path) if zipped else self.path.open("rb") as file:
                while line := file.readline(MAX_LINE_LENGTH + 1):
                    number += 1
                    line = line.removeprefix(MARK) if number == 1 else line
                    too_long = len(line) > MAX_LINE_LENGTH
                    while len(line) > MAX_LINE_LENGTH and not line.endswith(b"\n"):
                        line = file.readline(MAX_LINE_LENGTH + 1)
                    word = b"" if too_long else line.partition(b"#")[0].strip()
                    if is_account(word):
                        self.good += 1
                        yield word.decode()
                    elif word or too_long:
                        self._name(number, word)
            if self.named and not self.good:  # a crawl without targets ends at once, and looks successful
                raise EOFError("it named accounts before; was it written anew meanwhile?")
        except (OSError, EOFError, zlib.error) as error:
            self.damaged = f"{self.path} is damaged after line {number}: {error}"
            if not self.quiet:
                log.error(f"{self.damaged}; what stands before is in")
        if self.bad > NAMED_LINES and not self.quiet:
            log.warning("more lines are not ids", extra=fields(file=self.path, lines=self.bad - NAMED_LINES))

    def _name(self, number: int, word: bytes) -> None:
        self.bad += 1
        if self.bad <= NAMED_LINES and not self.quiet:
            said = word[:60].decode(errors="replace") or "too long"
            log.warning("a line is not an id", extra=fields(file=self.path, line=number, said=said))


def is_account(word: bytes) -> bool:
    """Whether a word is an account id: a number from 1 to 2^63 - 1, written as the service writes it."""
    return word[:1] != b"0" and whole_number(word, MAX_INT64) is not None


def targets(accounts: Iterable[str], traversal: Traversal, family: str) -> Iterator[AddJobs]:
    """Jobs for accounts that are not in the set yet."""
    return _jobs(accounts, traversal, traversal, family)


def widening(
    accounts: Iterable[str], more: tuple[Operation, ...], traversal: Traversal, family: str
) -> Iterator[AddJobs]:
    """For known accounts, the operations that were added to the plan."""
    return _jobs(accounts, Traversal(more, traversal.traversing, traversal.depth), traversal, family)


def updates(accounts: Iterable[str], traversal: Traversal, family: str) -> Iterator[AddJobs]:
    """An update for each account that is not in this round yet."""
    return _jobs(accounts, Traversal((), traversal.traversing, traversal.depth), traversal, family)


def in_hand(accounts: Iterable[str], family: str) -> Iterator[AddAccounts]:
    """Accounts whose job is live already: they are in the set, and get no second one."""
    rest = iter(accounts)
    while chunk := list(islice(rest, CHUNK)):
        yield AddAccounts(chunk, family)


def seeds(accounts: Iterable[str]) -> Iterator[AddAccounts]:
    """Accounts that are known from the start, and never discovered."""
    rest = iter(accounts)
    while chunk := list(islice(rest, CHUNK)):
        yield AddAccounts(chunk)


def _jobs(accounts: Iterable[str], makes: Traversal, walk: Traversal, family: str) -> Iterator[AddJobs]:
    rest = iter(accounts)
    while chunk := list(islice(rest, CHUNK)):
        yield AddJobs(family, walk.front, [walk.new_job(makes.first_job(account)) for account in chunk])
