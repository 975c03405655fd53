"""What the document says of the service `twitter` is what the worker sends to it, and what it makes of its answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from protocol.jobs import Operation
from protocol.settings.settings import Settings
from tests.checkout import ROOT
from tests.worker.scripted import Reply, scripted
from worker.client import retrying_client
from worker.client.allowance import GrantEmptyError, RequestAllowance
from worker.client.errors import UnavailableError
from worker.client.retrying_client import ServiceError
from worker.modules import pagination
from worker.sources.twitter import ENDPOINTS, Twitter, TwitterReader

PAGE = (ROOT / "docs" / "protocol.md").read_text()
[SERVICE] = re.findall(r"^## The service `twitter`\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
REQUESTS = re.findall(r"^\| `([TFAU])` \| (GET|POST) `(\S+)` \| (.*?) \|", SERVICE, re.MULTILINE)
ANSWERS = re.findall(r"^\| (\d{3}) \|.*?`(\{.*?\})` \| (.*?) \|$", SERVICE, re.MULTILINE)
CALLS: dict[str, Callable[[TwitterReader], Any]] = {
    "T": lambda to: to.posts("12", "99", ""),
    "F": lambda to: to.followers("12", ""),
    "A": lambda to: to.profiles(["12", "13"]),
    "U": lambda to: to.posts("12", "99", "7"),
}
EMPTY = {"A": b"[]", "F": b'{"ids": [], "next_cursor_str": "0"}', "T": b"[]", "U": b"[]"}


def reader(url: str) -> TwitterReader:
    twitter = Twitter(Settings(base_url=url))
    twitter._client_context.proven = True
    return twitter.reader(twitter.callers()[0].who, RequestAllowance(100), lambda spent: None)


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying_client, "FIRST_REST_S", 0.001)


@pytest.mark.parametrize(("letter", "method", "endpoint", "parameters"), REQUESTS)
def test_a_request_is_as_the_table_has_it(letter: str, method: str, endpoint: str, parameters: str) -> None:
    with scripted() as service:
        service.answers(Reply(body=EMPTY[letter]))
        CALLS[letter](reader(service.url))
    [asked] = service.asked
    assert (asked.method, asked.path) == (method, f"/1.1/{endpoint}.json")
    assert endpoint == ENDPOINTS[Operation(letter)]
    shared = next(more for one, _, _, more in REQUESTS if one == "T") if letter == "U" else ""
    assert set(asked.params) == set(re.findall(r"`(\w+)`", parameters + shared)) - {"T"}
    for name, value in asked.params.items():
        if name in ("count", "tweet_mode", "stringify_ids"):
            assert f"`{name}` {value}" in parameters + shared


def test_every_operation_is_in_the_table_and_every_end_in_the_other() -> None:
    assert {letter for letter, *_ in REQUESTS} == {operation.value for operation in Operation}
    ends = {"another", "`done`", "of", "`failed`", "`failed`:", "`failed`,", "`limited`;"}
    assert {then.split()[0].removesuffix(",") for _, _, then in ANSWERS} <= {end.removesuffix(",") for end in ends}


@pytest.mark.parametrize(("status", "body", "then"), ANSWERS)
@pytest.mark.parametrize("letter", list(CALLS))
def test_an_answer_means_what_the_table_says(letter: str, status: str, body: str, then: str) -> None:
    with scripted() as service:
        service.answers(Reply(int(status), body.encode()), Reply(body=EMPTY[letter]))

        def got() -> str:
            try:
                CALLS[letter](reader(service.url))
            except UnavailableError as gone:
                return f"`done`, `{gone.outcome.value}`"
            except GrantEmptyError:
                return "`limited`"
            except ServiceError:
                return "`failed`"
            return "another try" if len(service.asked) == 2 else "an empty page"

        said = got()
    if then.startswith("of `users/lookup`"):
        assert said == ("an empty page" if letter == "A" else "`failed`")
    else:
        assert then.startswith(said)


def test_the_numbers_are_those_of_the_worker() -> None:
    settings = Settings()
    assert f"tried {settings.max_attempts} times (`max_attempts`)" in SERVICE
    assert f"{settings.timeout_factor_s}^n s" in SERVICE
    assert f"at most {retrying_client.MAX_REST_S:g} s" in SERVICE
    assert f"asked for again, {pagination.RETRIES} times at most" in SERVICE
