"""What the monitor asks of whoever leads: the dead letters, and to requeue or drop some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from protocol.admin_client import ask_masters
from protocol.errors import LedgerError, TmaticError, UsageError
from protocol.jobs import Operation
from protocol.transport.keys import Certificate
from services.monitor.reading import items, number, text

MAX_DEAD: Final = 500
"""Dead letters of one question."""
ANSWER_S: Final = 3.0
LETTERS: Final = frozenset(operation.value for operation in Operation)
MAX_ACCOUNT_LENGTH: Final = 255

Job = tuple[str, str]
"""An operation's letter and an account."""


class Master(Protocol):
    """Whoever leads. All raise LedgerError, in words, when nobody answers or the answer is no."""

    def dead(self, first: int, count: int) -> list[dict[str, Any]]:
        """Dead letters from the `first`-th on, in an order that stays, each {"operation", "user", "tries", "words",
        "cursor"}."""

    def requeue(self, jobs: Sequence[Job]) -> list[str]:
        """The jobs are tried again from their cursors. Why not, a text for each, "" for one that is done."""

    def drop(self, jobs: Sequence[Job]) -> list[str]:
        """The jobs are given up for good. Why not, as above."""


class NoMasterError(LedgerError):
    """Nobody leads who answers, so there is no use in asking on."""


class AskedMaster:
    """The masters at these HOST:PORTs, asked over their sockets: `ANSWER_S` at most for whoever leads to be found, and
    as long for its answer."""

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
        """Give dead letters up."""
        return self._settle("drop", jobs)

    def _settle(self, word: str, jobs: Sequence[Job]) -> list[str]:
        """Ask for one job after the other, until whoever leads is silent: the rest are told why, and not tried."""
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
        """The address of whoever leads: it is found first, since one that stands by refuses."""
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
    """`T:123`, as the masters read it. Raises UsageError for what cannot be one."""
    if operation not in LETTERS or not 0 < len(user.encode("utf-8", "replace")) <= MAX_ACCOUNT_LENGTH:
        raise UsageError("a job is an operation, one of T, F, A and U, and an account")
    if not user.isprintable():
        raise UsageError("an account has no line breaks or control characters")
    return f"{operation}:{user}"
