"""Asking a service directly, without sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from services.emulator.api.calls import Rules, Service
from services.emulator.api.faults import FaultRates, parse_faults
from services.emulator.api.http_messages import ApiAnswer, Request
from services.emulator.api.limits import parse_limits
from services.emulator.worlds.synthetic import SyntheticWorld
from services.emulator.worlds.world import AccountState, World

NOON = 1_700_000_000.25
WORLD = SyntheticWorld(400, 7)
NOT_AUTHORIZED = "Not authorized."


def service(world: World = WORLD, *, limits: str = "none", faults: str = "", **rules: int) -> Service:
    rates = parse_faults(faults) if faults else FaultRates()
    return Service(world, Rules(parse_limits(limits), rates, **rules))


def answer(
    asked: Service, endpoint: str, *, now: float = NOON, address: str = "127.0.0.1", auth: str = "", **params: object
) -> ApiAnswer:
    headers = {"authorization": auth} if auth else {}
    texts = {name: str(value) for name, value in params.items()}
    return asked.answer(Request("GET", f"/1.1/{endpoint}.json", texts, headers, address), now)


def body(asked: Service, endpoint: str, **params: object) -> Any:
    got = answer(asked, endpoint, **params)  # type: ignore[arg-type]
    assert got.status == 200, got
    return json.loads(got.body)


def refusal(asked: Service, endpoint: str, **params: object) -> tuple[int, int]:
    """Status and code of an error, which must have the shape of the service's errors."""
    got = answer(asked, endpoint, **params)  # type: ignore[arg-type]
    (error,) = json.loads(got.body)["errors"]
    assert error["message"]
    return got.status, error["code"]


def accounts(world: SyntheticWorld, state: AccountState) -> Iterator[int]:
    for user in world.ids(0, 1 << 30):
        account = world.find(user)
        if account is not None and account.state is state:
            yield user


def first(world: SyntheticWorld, state: AccountState) -> int:
    return next(accounts(world, state))


def pages_of_ids(ask: Callable[[int], dict[str, Any]], most: int = 10_000) -> Iterator[list[int]]:
    """Every page of a list, as any client walks it: from −1 until the next cursor is 0."""
    cursor = -1
    for _ in range(most):
        page = ask(cursor)
        assert page["next_cursor_str"] == str(page["next_cursor"])
        yield page["ids"]
        cursor = page["next_cursor"]
        if cursor == 0:
            return
    raise AssertionError(f"the list does not end within {most} pages")


def pages_of_posts(ask: Callable[[int | None], list[dict[str, Any]]], most: int = 10_000) -> Iterator[list[int]]:
    """Every page of a timeline, by max_id one below the oldest seen, until a page is empty."""
    max_id: int | None = None
    for _ in range(most):
        ids = [post["id"] for post in ask(max_id)]
        if not ids:
            return
        yield ids
        max_id = min(ids) - 1
    raise AssertionError(f"the timeline does not end within {most} pages")
