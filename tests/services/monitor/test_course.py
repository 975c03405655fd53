"""The course of a crawl is kept in bounded space, however long it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from services.monitor.course import COLUMNS, Course, Pace, Point, Speed, point_of
from services.monitor.reading import overview
from tests.services.monitor import synthetic


def point(at: float, rate: float = 1.0, total: float = 0.0) -> Point:
    return (at, rate, rate, rate, *(total for _ in COLUMNS[4:]))


@given(st.lists(st.floats(min_value=0.1, max_value=50), min_size=1, max_size=400))
def test_the_whole_is_bounded_in_order_and_ends_with_the_last_total(steps: list[float]) -> None:
    course = Course(recent=30, whole=16)
    at = 1_000.0
    for number, step in enumerate(steps):
        at += step
        course.add(point(at, total=number))
    whole = course.columns()["whole"]
    assert len(whole[0]) <= 16
    assert whole[0] == sorted(set(whole[0]))
    assert whole[COLUMNS.index("records")][-1] == len(steps) - 1
    assert len(course.columns()["recent"][0]) <= 30


def test_a_bucket_has_the_mean_of_its_rates() -> None:
    course = Course(whole=2)
    for number in range(8):
        course.add(point(1_000.0 + number, rate=number))
    rates = course.columns()["whole"][COLUMNS.index("records_s")]
    assert rates == [1.5, 5.5]
    assert course.width_s == 4


def test_the_course_goes_on_after_a_restart() -> None:
    first, second = Course(), Course()
    first.add(point(1_000.0, total=5))
    second.recall(first.kept())
    second.add(point(1_060.0, total=9))
    assert second.columns()["whole"][COLUMNS.index("records")] == [5, 9]


def test_what_another_version_kept_is_left_alone() -> None:
    course = Course()
    assert not course.recall({"columns": ["at"], "whole": [[1]], "counts": [1], "width_s": 1})
    assert course.columns()["whole"][0] == []


KEPT = {"columns": list(COLUMNS), "width_s": 1.0, "whole": [point(1.0), point(2.0)], "counts": [1, 1]}


@pytest.mark.parametrize(
    "kept",
    [
        [],
        "x",
        3,
        {},
        KEPT | {"whole": None},
        KEPT | {"whole": [[1], [2]]},
        KEPT | {"whole": [point(1.0), None]},
        KEPT | {"whole": [point(2.0), point(1.0)]},
        KEPT | {"whole": [["x"] * len(COLUMNS)] * 2},
        KEPT | {"whole": [[True] * len(COLUMNS)] * 2},
        KEPT | {"whole": [point(1.0), point(-2.0)]},
        KEPT | {"whole": [point(1.0)]},
        KEPT | {"whole": [point(1.0)] * 2_000, "counts": [1] * 2_000},
        KEPT | {"counts": [0, 1]},
        KEPT | {"counts": [1.5, 1]},
        KEPT | {"counts": {}},
        KEPT | {"width_s": 0},
        KEPT | {"width_s": "1"},
        KEPT | {"width_s": 1e300},
        KEPT | {"width_s": None},
    ],
)
def test_what_no_course_can_be_is_left_alone(kept: object) -> None:
    course = Course()
    assert course.recall(KEPT)
    assert not course.recall(kept)
    course.add(point(1_060.0))
    assert course.columns()["whole"][0] == [1.0, 2.0, 1_060.0]


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=4)))
def test_no_course_that_is_kept_is_a_fault_of_ours(strange: object) -> None:
    for name in KEPT:
        course = Course()
        course.recall(KEPT | {name: strange})
        course.add(point(5.0))
        assert len(course.columns()["whole"]) == len(COLUMNS)


def test_a_clock_that_was_set_back_does_not_tangle_the_last_minutes() -> None:
    course = Course()
    course.add(point(1_000.0))
    course.add(point(400.0))
    assert course.columns()["recent"][0] == [400.0]


def test_rates_come_from_the_totals_of_the_last_seconds() -> None:
    speed = Speed()
    for second in range(10):
        seen = overview(synthetic.document(3, second))
        speed.look(float(second), seen)
    assert seen["rates"]["jobs"] == 9 + 8 + 7


def test_accounts_of_one_page_have_pages_too() -> None:
    speed = Speed()
    for second in range(10):
        said = {"operations": {"timeline": {"completed": 3 * second, "pages": 3 * second}}, "totals": {}}
        seen = overview(said)
        speed.look(float(second), seen)
    assert seen["operations"]["timeline"]["pages"] == 27
    assert seen["rates"]["pages"] == 3


def test_the_rate_of_a_worker_comes_from_the_jobs_it_ended() -> None:
    pace = Pace()
    for second in range(30):
        rows: list[list[Any]] = [["steady", "", 8, 3 * second, None, 0.1, [], []], ["told", "", 8, 0, 7.5, 0.1, [], []]]
        pace.look(float(second), rows)
    assert rows[0][4] == 3
    assert rows[1][4] == 7.5


def test_totals_that_fall_are_not_a_rate() -> None:
    speed = Speed()
    for second in (50, 51, 3):
        seen = overview(synthetic.document(3, second))
        speed.look(float(second), seen)
    assert all(rate >= 0 for rate in seen["rates"].values())


def test_a_point_has_a_number_in_each_column() -> None:
    assert len(point_of(1.0, overview({}))) == len(COLUMNS)
