"""The monitor's requests to the leader: list the dead letters, requeue or drop some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from protocol.admin_client import ask_masters
from protocol.errors import LedgerError, TmaticError, UsageError
from protocol.jobs import Operation
from protocol.transport.keys import Certificate
from services.monitor.reading import items, number, text

MAX_DEAD: Final = 500
"""Dead letters of one request."""
ANSWER_S: Final = 3.0
LETTERS: Final = frozenset(operation.value for operation in Operation)
MAX_ACCOUNT_LENGTH: Final = 255

Job = tuple[str, str]
"""An operation's letter and an account."""


class Master(Protocol):
    """The leader. All methods raise LedgerError with a message for people when it does not answer, or refuses."""

    def dead(self, first: int, count: int) -> list[dict[str, Any]]:
        """Dead letters from the `first`-th on, in a stable order, each {"operation", "user", "tries", "words",
        "cursor"}."""

    def requeue(self, jobs: Sequence[Job]) -> list[str]:
        """Retry the jobs from their cursors. Returns a reason for each that is refused, "" for one that is done."""

    def drop(self, jobs: Sequence[Job]) -> list[str]:
        """Drop the jobs for good. Returns the reasons, as above."""


class NoMasterError(LedgerError):
    """No leader answers, so further requests are useless."""


class AskedMaster:
    """The masters at these HOST:PORTs, called over their sockets: at most `ANSWER_S` to find the leader, and as long
    for its answer."""

    def __init__(self, addresses: Sequence[str], certificate: Certificate | None = None) -> None:
        self._addresses, self._certificate = tuple(addresses), certificate

    def dead(self, first: int, count: int) -> list[dict[str, Any]]:
        """A page of the dead letters."""
        answer = self._ask(self._leader(), f"dead {max(0, first)} {min(max(1, count), MAX_DEAD)}")
        return [
            {
                "operation": text(one, "operation")[:1],
                "user": text(one, "user"),
                "tries": number(one, "tries"),
                "words": text(one, "words"),
                "cursor": text(one, "cursor"),
            }
            for one in items(answer, "letters", MAX_DEAD)
        ]

    def requeue(self, jobs: Sequence[Job]) -> list[str]:
        """Try dead letters again."""
        return self._settle("requeue", jobs)

    def drop(self, jobs: Sequence[Job]) -> list[str]:
        """Drop dead letters."""
        return self._settle("drop", jobs)

    def _settle(self, word: str, jobs: Sequence[Job]) -> list[str]:
        """Send a request for one job after the other, until the leader is silent: the rest get that reason, untried."""
        leader = self._leader()
        told: list[str] = []
        for operation, user in jobs:
            try:
                self._ask(leader, f"{word} {job_name(operation, user)}")
            except NoMasterError as error:
                return told + [str(error)] * (len(jobs) - len(told))
            except TmaticError as error:
                told.append(str(error))
            else:
                told.append("")
        return told

    def _leader(self) -> str:
        """The leader's address: it is found first, since a standby refuses."""
        states = ask_masters(self._addresses, "where", certificate=self._certificate, within_s=ANSWER_S)
        if not states:
            raise NoMasterError(f"no master answers at {', '.join(self._addresses)}: see whether one runs")
        for address, state in states.items():
            if state.get("role") == "leading":
                return address
        raise NoMasterError("no master leads now: try again in a moment")

    def _ask(self, leader: str, question: str) -> dict[str, Any]:
        answers = ask_masters([leader], question, certificate=self._certificate, within_s=ANSWER_S)
        if not answers:
            raise NoMasterError(f"the master at {leader} did not answer within {ANSWER_S:g} s: try again")
        return answers[leader]


def job_name(operation: str, user: str) -> str:
    """`T:123`, as the masters parse it. Raises UsageError for an invalid one."""
    if operation not in LETTERS or not 0 < len(user.encode("utf-8", "replace")) <= MAX_ACCOUNT_LENGTH:
        raise UsageError("a job is an operation, one of T, F, A and U, and an account")
    if not user.isprintable():
        raise UsageError("an account has no line breaks or control characters")
    return f"{operation}:{user}"
