"""The time to go is told where it can be, and never made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.monitor.course import Point, point_of
from services.monitor.eta import Eta, outlook
from services.monitor.reading import overview


def seen(
    waiting: float, completed: float, parked: float = 0, workers: int = 1, budgets: Any = None, pages_s: float = 0
) -> dict[str, Any]:
    crew = [{"name": f"w{number}", "room": 8, "jobs": []} for number in range(workers)]
    return overview(
        {
            "operations": {"timeline": {"waiting": waiting, "completed": completed, "parked": parked}},
            "plan": {"operations": "T"},
            "workers": crew,
            "budgets": budgets or {},
            "rates": {"pages": pages_s},
        }
    )


def told(course: Sequence[tuple[float, float]], pages_s: float = 0, **more: Any) -> Eta:
    """The outlook after these (waiting, completed), one a second."""
    points: list[Point] = [point_of(1_000.0 + s, seen(w, c, pages_s=pages_s)) for s, (w, c) in enumerate(course)]
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


def test_the_last_moment_is_a_second_and_not_a_year() -> None:
    found = told([(1_000 - 5 * second, 5 * second) for second in range(200)] + [(1, 1_000)])
    assert found.kind == "estimate"
    assert found.low_s == 1


def test_more_than_a_year_has_no_number() -> None:
    found = told([(1e9 - second, second) for second in range(120)])
    assert found.words == "more than a year at this rate"
    assert (found.low_s, found.high_s) == (None, None)


def test_what_stopped_a_minute_ago_stands_still_and_has_no_estimate() -> None:
    course: list[tuple[float, float]] = [(1_000 - 2 * second, 2 * second) for second in range(400)]
    assert told(course).kind == "estimate"
    assert told(course + [course[-1]] * 70).kind == "stalled"
    assert "no workers" in told(course, workers=0).words


def test_a_job_of_many_pages_is_no_standstill() -> None:
    found = told([(100, 5)] * 599, pages_s=0.2)
    assert found.kind == "unknown"
    assert "pages come in" in found.words
