"""`protocol/budget_vectors.json`: what a worker hears of a budget, and the items that it reports then.

`python -m tests.protocol.budget_vectors` writes it anew, by the worker's own code. A step is [at, what, …], in
seconds of the worker's clock; the kinds of steps are those of the rules in `docs/protocol.md`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from protocol.messages import BudgetReport
from tests.checkout import ROOT
from worker.client.heard_budgets import NOTHING_SAID, HeardBudgets

FILE: Final = ROOT / "protocol" / "budget_vectors.json"
WHO, ENDPOINT = "address:1", "followers/ids"

W, LATER = 1_700_000_900, 1_700_001_800
"""The names of two windows, 900 s apart."""


def answer(at: float, remaining: int, window: int = W, lasts_s: float = 900, sent: float | None = None) -> list[Any]:
    return [at, "answer", at if sent is None else sent, 15, remaining, window, int(lasts_s * 1000)]


SEQUENCES: Final[dict[str, tuple[list[list[Any]], float]]] = {
    "nothing was heard": ([], 0),
    "one answer": ([answer(0, 14)], 0),
    "one answer, told later": ([answer(0, 14)], 10.5),
    "two answers": ([answer(0, 14), answer(1, 13, lasts_s=899)], 2),
    "answers that overtake one another": ([answer(1, 12, lasts_s=899), answer(1.5, 13, lasts_s=898.5)], 2),
    "an answer that took long": ([answer(0, 14), answer(30, 13, lasts_s=870, sent=1)], 30),
    "the window is over": ([answer(0, 3)], 901),
    "a later window, after the first": ([answer(0, 3), answer(905, 14, LATER, 895)], 906),
    "a later window while the first runs": ([answer(0, 3), answer(100, 14, LATER, 900)], 101),
    "a word of the former window": ([answer(0, 3), answer(100, 14, LATER, 900), answer(101, 2, W, 799)], 102),
    "an answer of the last window, after its end": ([answer(0, 3), answer(901, 2, W, 0.5)], 901),
    "a reset that jitters by a second": ([answer(0, 14), answer(1, 13, W + 1, 900)], 2),
    "a clock that was set back": ([answer(0, 14), answer(10, 13, W - 5000, 890)], 11),
    "a clock that was set forward": ([answer(0, 14), answer(10, 13, W + 5000, 890)], 11),
    "an unknown window that ends long before": ([answer(0, 14), answer(10, 13, W + 77, 100)], 11),
    "a limit that falls": ([answer(0, 14), [5, "answer", 5, 10, 9, W, 895_000]], 6),
    "nothing left": ([answer(0, 0)], 1),
    "a service that says nothing": ([[0, "silent", 0]], 1),
    "a service that says nothing, then a limit": ([[0, "silent", 0], answer(5, 14)], 6),
    "refused for the rate, until then": ([answer(0, 14), [1, "refused", 60]], 2),
    "refused for the rate, nothing left": ([answer(0, 0), [1, "refused", 60]], 2),
    "refused for the rate, for longer than the window": ([answer(0, 0), [1, "refused", 2000]], 2),
    "refused for the rate, before anything was said": ([[0, "refused", 60]], 1),
    "asked to be left alone": ([[0, "silent", 0], [1, "leave alone", 30]], 2),
    "asked to be left alone, within a window": ([answer(0, 14), [1, "leave alone", 30]], 2),
    "the rest is over": ([answer(0, 14), [1, "refused", 60]], 62),
    "a request without an answer": ([answer(0, 14), [1, "unanswered"]], 2),
    "counted by a later answer": ([answer(0, 14), [1, "unanswered"], answer(5, 12, lasts_s=895, sent=2)], 6),
    "not counted by an earlier one": ([answer(0, 14), [3, "unanswered"], answer(5, 13, lasts_s=895, sent=2)], 6),
    "without an answer, and nothing is known": ([[0, "unanswered"], [1, "unanswered"]], 2),
    "without an answer, and the window is over": ([answer(0, 14), [1, "unanswered"]], 905),
}
"""By name: the steps, and when the items are reported."""


def heard(steps: list[list[Any]], at: float) -> list[list[Any]]:
    """The items of the worker's own code."""
    budgets = HeardBudgets()
    for step in steps:
        match step:
            case [now, "answer", sent, limit, remaining, window, reset_in_ms]:
                report = BudgetReport(WHO, ENDPOINT, limit, remaining, window, reset_in_ms)
                budgets.hear(now, report, sent)
            case [now, "silent", sent]:
                budgets.hear(now, BudgetReport(WHO, ENDPOINT, NOTHING_SAID, 0, 0, 0), sent)
            case [now, "refused", rest_s]:
                budgets.refused(now, WHO, ENDPOINT, rest_s)
            case [now, "leave alone", rest_s]:
                budgets.leave_alone(now, WHO, ENDPOINT, rest_s)
            case [now, "unanswered"]:
                budgets.unanswered(now, WHO, ENDPOINT)
    return [list(item) for item in budgets.reports(at)]


def document() -> str:
    """The whole file, as text."""
    lines = [
        json.dumps({"name": name, "steps": steps, "at": at, "items": heard(steps, at)})
        for name, (steps, at) in SEQUENCES.items()
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
