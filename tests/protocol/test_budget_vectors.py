"""What `protocol/budget_vectors.json` says is reported is what the worker reports, and what the code in the document
does."""

from __future__ import annotations

import json
import random
import re
import runpy
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from protocol import budget_vectors
from protocol.transport.http_routes import HttpRoutes
from tests.checkout import ROOT
from worker.client import retrying_client
from worker.client.allowance import RequestAllowance
from worker.client.http import Call, HttpAnswer, HttpClient
from worker.client.retrying_client import ClientContext, RetryingClient, RetryPolicy
from worker.sources.twitter import said

DOCUMENT = ROOT / "docs" / "protocol.md"
KEPT: Any = json.loads(budget_vectors.FILE.read_text())
CASES: list[Any] = KEPT["cases"]
CALL = Call("things", "http://service/things", {})
WHO = "address:127.0.0.1"


def test_the_file_is_what_its_generator_writes() -> None:
    assert budget_vectors.FILE.read_text() == budget_vectors.document(), "say python -m protocol.budget_vectors"


class Worker:
    """What the worker makes of it."""

    def __init__(self, clock: SimpleNamespace) -> None:
        manners = RetryPolicy(4, 2.0, KEPT["toomany_sleep_ms"] / 1000)
        self._clock, self._phone = clock, ClientContext(HttpClient("test", HttpRoutes()), manners)
        self._asking = RetryingClient(self._phone, RequestAllowance(1000), WHO, lambda: "", said, lambda spent: None)

    def hear(self, event: Any) -> None:
        self._clock.now = event["at_ms"] / 1000
        if event["what"] == "answer":
            headers = CaseInsensitiveDict(event["headers"])
            answer = HttpAnswer(event["status"], headers, b"", float(event["wall_s"]))
            self._asking._answered(CALL, answer, event["sent_at_ms"] / 1000)
        elif event["what"] == "unanswered":
            self._asking._unanswered(CALL)

    def report(self, at_ms: int) -> Any:
        reports = self._phone.budgets.reports(at_ms / 1000)
        return [[*report[2:]] for report in reports], not self._phone.budgets.exhausted(at_ms / 1000, WHO, "things")


def replayed(case: Any, hear: Any, report: Any) -> list[Any]:
    """What is reported, as the file has it."""
    happening = sorted([*case["events"], *case["reports"]], key=lambda one: (one["at_ms"], "items" in one))
    found = []
    for one in happening:
        if "items" in one:
            items, may_ask = report(one["at_ms"])
            found.append({"at_ms": one["at_ms"], "items": items, "may_ask": may_ask})
        else:
            hear(one)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_worker_reports_so(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(retrying_client, "time", SimpleNamespace(monotonic=lambda: clock.now))
    worker = Worker(clock)
    assert replayed(case, worker.hear, worker.report) == case["reports"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The class that the document shows."""
    [code] = re.findall(r"<!-- budget rules -->\n```python\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    file = tmp_path_factory.mktemp("rules") / "rules.py"
    file.write_text(code)
    return runpy.run_path(str(file))["Budget"]


class Written:
    """What the code of the document makes of it."""

    def __init__(self, kind: Any) -> None:
        self._budget = kind(KEPT["toomany_sleep_ms"])

    def hear(self, event: Any) -> None:
        if event["what"] == "answer":
            fields = ("at_ms", "sent_at_ms", "wall_s", "status", "headers")
            self._budget.answer(*(event[name] for name in fields))
        elif event["what"] == "unanswered":
            self._budget.gave_up(event["at_ms"])

    def report(self, at_ms: int) -> Any:
        return self._budget.items(at_ms), self._budget.may_ask(at_ms)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_code_in_the_document_reports_so(case: Any, written: Any) -> None:
    budget = Written(written)
    assert replayed(case, budget.hear, budget.report) == case["reports"]


def test_the_example_in_the_document_is_the_first_case() -> None:
    rows = re.findall(r"^\| [0-9.]+ s \|.*\| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    shown = [[int(number) for number in re.findall(r"\d+", row)] for row in rows]
    assert shown == [[number for item in one["items"] for number in item] for one in CASES[0]["reports"]]


def answers(chance: random.Random) -> Any:
    """What happens on one budget, by chance: most answers are of one window, some are late, wrong or missing."""
    at_ms, skew, name = 0, 0, 60
    events: list[dict[str, Any]] = []
    for _ in range(chance.randrange(1, 30)):
        at_ms += 500 * chance.choice((0, 1, 1, 2, 7, 60))
        if chance.random() < 0.1:
            skew = chance.choice((0, 3600, -3600))
        while name * 1000 <= at_ms:
            name += 60
        if chance.random() < 0.15:
            events.append({"at_ms": at_ms, "what": chance.choice(("unanswered", "no connection"))})
            continue
        wall_s = budget_vectors.AT + at_ms // 1000
        reset = budget_vectors.AT + skew + name + chance.choice((0, 0, 0, 0, -1, 1, -60, 60, 5, -7, 40 * 86_400))
        left = chance.choice((-1, 0, 3, 7, 14, 15, 99))
        headers = {"X-Rate-Limit-Limit": "15", "X-Rate-Limit-Remaining": str(left), "X-Rate-Limit-Reset": str(reset)}
        if chance.random() < 0.2:
            headers = chance.choice(({}, {}, {"RateLimit-Remaining": "-1"}, {"X-RateLimit-Limit": "x"}))
        if chance.random() < 0.8:
            headers = headers | {"Date": formatdate(wall_s + skew, usegmt=True)}
        if chance.random() < 0.2:
            headers = headers | {"Retry-After": chance.choice(("0", "5", "100", "999999", "-1", "soon"))}
        sent = max(0, at_ms - 500 * chance.choice((0, 1, 1, 2, 20)))
        status = chance.choice((200, 200, 200, 200, 200, 404, 401, 429, 500, 503))
        answer = {"sent_at_ms": sent, "wall_s": wall_s, "status": status, "headers": headers}
        events.append({"at_ms": at_ms, "what": "answer"} | answer)
    looks = [{"at_ms": at, "items": []} for at in range(0, at_ms + 200_000, 3500)]
    return {"events": events, "reports": looks}


def test_the_code_in_the_document_reports_what_the_worker_does_whatever_happens(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(retrying_client, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for seed in range(300):
        case = answers(random.Random(seed))
        worker, budget = Worker(clock), Written(written)
        assert replayed(case, budget.hear, budget.report) == replayed(case, worker.hear, worker.report), seed
