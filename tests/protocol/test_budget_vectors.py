"""The budget rules of `docs/protocol.md`, run as they stand there, and the worker's own code report the same items."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.checkout import ROOT
from tests.protocol import budget_vectors

VECTORS: list[dict[str, Any]] = json.loads(budget_vectors.FILE.read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
CALLS: dict[str, Any] = {
    "answer": lambda budget, now, *more: budget.answer(now, *more),
    "silent": lambda budget, now, sent_at: budget.silence(sent_at),
    "refused": lambda budget, now, rest_s: budget.refused(now, rest_s),
    "leave alone": lambda budget, now, rest_s: budget.leave_alone(now, rest_s),
    "unanswered": lambda budget, now: budget.no_answer(now),
}


def rules() -> Any:
    """The class in the document."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    named: dict[str, Any] = {}
    exec(compile(code, "docs/protocol.md", "exec"), named)  # noqa: S102 - our own document
    return named["Budget"]


def test_the_file_is_what_the_workers_code_reports() -> None:
    words = "say python -m tests.protocol.budget_vectors"
    assert budget_vectors.FILE.read_text(encoding="utf-8") == budget_vectors.document(), words


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_rules_in_the_document_report_the_same(vector: dict[str, Any]) -> None:
    budget = rules()()
    for now, what, *more in vector["steps"]:
        CALLS[what](budget, now, *more)
    mine = [["address:1", "followers/ids", *item] for item in budget.items(vector["at"])]
    assert mine == vector["items"]
