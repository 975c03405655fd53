"""What the monitor asks of whoever leads: the dead letters, and to requeue or drop one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from protocol.asking import ask_masters
from protocol.errors import LedgerError, UsageError
from protocol.keys import Certificate
from services.monitor.reading import items, number, text

MOST_DEAD: Final = 500
"""Dead letters of one question."""
ANSWER_S: Final = 3.0
OPERATIONS: Final = frozenset("TFAU")
LONGEST_ACCOUNT: Final = 255


class Master(Protocol):
    """Whoever leads. All raise LedgerError, in words, when nobody answers or the answer is no."""

    def dead(self, first: int, count: int) -> list[dict[str, Any]]:
        """Dead letters from the `first`-th on, in an order that stays, each {"operation", "user", "tries", "words",
        "cursor"}."""

    def requeue(self, operation: str, user: str) -> None:
        """The job is tried again from its cursor."""

    def drop(self, operation: str, user: str) -> None:
        """The job is given up for good."""


class AskedMaster:
    """The masters at these HOST:PORTs, asked over their sockets; each call blocks for `ANSWER_S` at most."""

    def __init__(self, addresses: Sequence[str], certificate: Certificate | None = None) -> None:
        self._addresses, self._certificate = tuple(addresses), certificate

    def dead(self, first: int, count: int) -> list[dict[str, Any]]:
        """A page of the dead letters."""
        answer = self._leader(f"dead {max(0, first)} {min(max(1, count), MOST_DEAD)}")
        return [
            {
                "operation": text(one, "operation")[:1],
                "user": text(one, "user"),
                "tries": number(one, "tries"),
                "words": text(one, "words"),
                "cursor": text(one, "cursor"),
            }
            for one in items(answer, "letters", MOST_DEAD)
        ]

    def requeue(self, operation: str, user: str) -> None:
        """Try a dead letter again."""
        self._leader(f"requeue {job_name(operation, user)}")

    def drop(self, operation: str, user: str) -> None:
        """Give a dead letter up."""
        self._leader(f"drop {job_name(operation, user)}")

    def _leader(self, question: str) -> dict[str, Any]:
        """The answer of whoever leads: first it is found, since one that stands by refuses."""
        states = ask_masters(self._addresses, "where", certificate=self._certificate, within_s=ANSWER_S)
        if not states:
            raise LedgerError(f"no master answers at {', '.join(self._addresses)}: see whether one runs")
        leading = [address for address, state in states.items() if state.get("role") == "leading"]
        if not leading:
            raise LedgerError("no master leads now: try again in a moment")
        answers = ask_masters(leading[:1], question, certificate=self._certificate, within_s=ANSWER_S)
        if not answers:
            raise LedgerError(f"the master at {leading[0]} did not answer within {ANSWER_S:g} s: try again")
        return answers[leading[0]]


def job_name(operation: str, user: str) -> str:
    """`T:123`, as the masters read it. Raises UsageError for what cannot be one."""
    if operation not in OPERATIONS or not 0 < len(user.encode("utf-8", "replace")) <= LONGEST_ACCOUNT:
        raise UsageError("a job is an operation, one of T, F, A and U, and an account")
    if not user.isprintable():
        raise UsageError("an account has no line breaks or control characters")
    return f"{operation}:{user}"
