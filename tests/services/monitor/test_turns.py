"""A master or an index that is slow holds up only those who wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from services.http import Turns
from services.monitor.master import Job
from services.monitor.search import Findings, Question
from tests.services.monitor import synthetic
from tests.services.monitor.running import TOKEN, Running, running
from tests.services.monitor.synthetic import ScriptedMaster, ScriptedSearch

WAIT_S = 60.0
MANY = 30
"""More than the server has threads."""


class Gate:
    """What waits here goes on when it is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self._open = threading.Event()

    def pass_(self) -> None:
        self.waiting += 1
        assert self._open.wait(WAIT_S)

    def open(self) -> None:
        self._open.set()


class SlowMaster(ScriptedMaster):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def dead(self, first: int, count: int) -> list[dict[str, Any]]:
        self._gate.pass_()
        return super().dead(first, count)

    def drop(self, jobs: Sequence[Job]) -> list[str]:
        self._gate.pass_()
        return super().drop(jobs)


class SlowSearch(ScriptedSearch):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def search(self, question: Question) -> Findings:
        self._gate.pass_()
        return super().search(question)

    def post(self, identifier: str) -> bytes | None:
        self._gate.pass_()
        return super().post(identifier)


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Gate]]:
    monkeypatch.setattr("services.monitor.pages.Turns", partial(Turns, within_s=0.5))
    gate = Gate()
    synthetic.dataset(tmp_path)
    with running(tmp_path, master=SlowMaster(gate), search=SlowSearch(gate)) as served:
        yield served, gate
        gate.open()


def card_s(monitor: Running) -> float:
    """How long somebody waits who asks for an account."""
    began = time.monotonic()
    answer = requests.get(f"{monitor.url}/api/user", params={"id": synthetic.USERS[2]}, timeout=WAIT_S)
    assert answer.status_code == 200
    return time.monotonic() - began


def asked(monitor: Running, path: str) -> Callable[[int], requests.Response]:
    return lambda _: requests.get(monitor.url + path, timeout=WAIT_S)


@pytest.mark.parametrize(
    ("path", "whom"), [("/api/dead", "the master"), ("/api/search?q=x", "the index"), ("/api/post?id=1", "the index")]
)
def test_who_waits_for_somebody_slow_keeps_nobody_else_waiting(
    slow: tuple[Running, Gate], path: str, whom: str
) -> None:
    monitor, gate = slow
    with ThreadPoolExecutor(MANY) as many:
        answers = [many.submit(asked(monitor, path), number) for number in range(MANY)]
        while not gate.waiting:
            time.sleep(0.01)
        assert max(card_s(monitor) for _ in range(5)) < 3.0
        while sum(answer.done() for answer in answers) < MANY - gate.waiting:
            time.sleep(0.01)
        gate.open()
        came = [answer.result() for answer in answers]
    assert gate.waiting <= 3
    refused = [answer for answer in came if answer.status_code == 503]
    assert len(refused) == MANY - gate.waiting
    assert all(whom in answer.json()["error"] and answer.headers["Retry-After"] for answer in refused)
    assert requests.get(monitor.url + path, timeout=WAIT_S).status_code in (200, 404)


def test_questions_do_not_keep_an_action_from_being_taken(slow: tuple[Running, Gate]) -> None:
    monitor, gate = slow
    session = requests.Session()
    session.headers["Origin"] = monitor.url
    told = session.post(f"{monitor.url}/api/session", json={"token": TOKEN}, timeout=WAIT_S).json()
    session.headers["X-Tmatic-Csrf"] = told["csrf"]
    with ThreadPoolExecutor(MANY) as many:
        answers = [many.submit(asked(monitor, "/api/dead"), number) for number in range(3)]
        while gate.waiting < 3:
            time.sleep(0.01)
        action = many.submit(
            lambda: session.post(f"{monitor.url}/api/dead/drop", json={"jobs": [["T", "1"]]}, timeout=WAIT_S)
        )
        while gate.waiting < 4:
            assert not action.done()
            time.sleep(0.01)
        gate.open()
        assert [answer.result().status_code for answer in answers] == [200] * 3
        assert action.result().status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "\xe9"])
def test_a_page_of_another_site_asks_nothing(slow: tuple[Running, Gate], site: str) -> None:
    monitor, gate = slow
    headers = {"Sec-Fetch-Site": site.encode()}
    for path in ("/api/dead", "/api/search?q=x", "/api/user?id=1", "/api/stream", "/api/course", "/api/about"):
        answer = requests.get(monitor.url + path, headers=headers, timeout=WAIT_S)
        assert answer.status_code == 403 and "another site" in answer.json()["error"]
    assert not gate.waiting
    for path in ("/", "/user/1", "/inspect", "/assets/base.css"):
        assert requests.get(monitor.url + path, headers=headers, timeout=WAIT_S).status_code == 200
    own = {"Sec-Fetch-Site": "same-origin"}
    assert requests.get(f"{monitor.url}/api/about", headers=own, timeout=WAIT_S).status_code == 200
