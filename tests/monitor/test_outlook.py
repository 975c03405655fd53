"""The time to go is told where it can be, and never made up."""

from __future__ import annotations

from typing import Any

from services.monitor.course import Point, point_of
from services.monitor.outlook import Outlook, outlook
from services.monitor.reading import overview


def seen(waiting: float, completed: float, parked: float = 0, workers: int = 1, budgets: Any = None) -> dict[str, Any]:
    crew = [{"name": f"w{number}", "room": 8, "jobs": []} for number in range(workers)]
    return overview(
        {
            "operations": {"timeline": {"waiting": waiting, "completed": completed, "parked": parked}},
            "plan": {"operations": "T"},
            "workers": crew,
            "budgets": budgets or {},
        }
    )


def told(course: list[tuple[float, float]], **more: Any) -> Outlook:
    """The outlook after these (waiting, completed), one a second."""
    points: list[Point] = [point_of(1_000.0 + s, seen(w, c)) for s, (w, c) in enumerate(course)]
    return outlook(seen(*course[-1], **more), points)


def test_a_steady_fall_gives_the_time_that_it_takes() -> None:
    found = told([(1_000 - 2 * second, 2 * second) for second in range(120)])
    assert found.kind == "estimate"
    assert found.low_s is not None
    assert abs(found.low_s - 762 / 2) < 3


def test_steps_that_follow_in_the_chain_are_counted() -> None:
    state = overview({"operations": {"timeline": {"waiting": 10}}, "plan": {"operations": "TFA"}})
    assert outlook(state, []).left == 30


def test_a_crawl_that_finds_more_than_it_finishes_has_no_end_in_sight() -> None:
    found = told([(100 + 3 * second, second) for second in range(60)])
    assert found.kind == "grows"
    assert found.low_s is None


def test_the_first_seconds_tell_nothing() -> None:
    assert told([(100, 0), (99, 1)]).kind == "early"


def test_a_crawl_that_waits_for_a_budget_says_so() -> None:
    budgets = {"service app statuses": {"available": 0, "limit": 15, "resets_in_s": 41.0}}
    found = told([(100, 5)] * 60, parked=4, budgets=budgets)
    assert found.kind == "stalled"
    assert "41 s" in found.words


def test_a_crawl_without_workers_says_so() -> None:
    assert "no workers" in told([(100, 5)] * 60, workers=0).words


def test_an_end_is_an_end() -> None:
    assert told([(0, 5)] * 60).kind == "done"
    assert outlook(seen(0, 0), []).kind == "idle"
    assert outlook(overview({}), []).kind == "none"
