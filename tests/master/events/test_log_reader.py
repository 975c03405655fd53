"""What of the log comes behind a position, while it grows and its beginning is trimmed between any two reads."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from hypothesis import given, strategies as st

from master.events.log_reader import replay
from protocol import messages as wire


@dataclass
class Log:
    """A ledger as `replay` reads it; before each read so many entries are trimmed, and so many are added."""

    head: int
    first: int
    trims: list[int]
    grows: list[int]
    asked: int = 0

    def observe(self) -> Any:
        return SimpleNamespace(ledger_id="ledger")

    def reigns(self) -> list[tuple[str, int]]:
        return [("i", 1)]

    def heads(self) -> dict[str, int]:
        return {"": self.head}

    def log(self, first: int = 0, last: int = -1) -> list[tuple[int, int, str, bytes]]:
        if self.asked < len(self.trims):
            self.first = min(self.head + 1, self.first + self.trims[self.asked])
            self.head += self.grows[self.asked]
        self.asked += 1
        kept = [(n, n - 1, "job.done", b"\x90") for n in range(self.first, self.head + 1)]
        return kept[first : last + 1]


@given(
    head=st.integers(0, 2_000),
    first=st.integers(1, 500),
    steps=st.lists(st.tuples(st.sampled_from([0, 0, 1, 300, 700]), st.sampled_from([0, 5, 600])), max_size=8),
    share=st.floats(0, 1),
)
def test_an_answer_has_all_that_follows_unless_that_is_gone(
    head: int, first: int, steps: list[tuple[int, int]], share: float
) -> None:
    ledger: Any = Log(head, min(first, head + 1), [trim for trim, _ in steps], [grown for _, grown in steps])
    asked = int(share * head)
    answer = replay(ledger, wire.Replay(["job."], "ledger", "i", asked, 10_000))
    if answer.how == wire.GONE:
        assert ledger.first > asked + 1
    else:
        assert answer.how == wire.KEPT
        assert [entry.sequence for entry in answer.entries] == list(range(asked + 1, answer.covered + 1))
        if ledger.first <= asked + 1:
            assert answer.covered >= min(head, asked + 2_000)


class TakenOver(Log):
    """Somebody takes the lead while the log is read: what follows is his."""

    def reigns(self) -> list[tuple[str, int]]:
        return [("i", 1), ("j", 11)] if self.asked > 1 else [("i", 1)]


def test_what_a_new_leader_gave_is_told_as_his() -> None:
    ledger: Any = TakenOver(10, 1, [0, 0], [0, 5])
    answer = replay(ledger, wire.Replay(["job."], "ledger", "i", 4, 100))
    assert (answer.how, answer.covered, answer.incarnation) == (wire.KEPT, 15, "j")
