"""Whatever a master says, the pages get every key in its place."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, strategies as st

from services.monitor.course import point_of
from services.monitor.eta import outlook
from services.monitor.reading import MAX_BUDGET_LENGTH, MAX_JOBS, moment, overview, state_of, workers
from tests.services.monitor import synthetic

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = tuple(synthetic.document(2))


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING))
def test_no_document_breaks_a_page(broken: dict[str, Any]) -> None:
    said = synthetic.document(2) | broken
    seen = overview(said)
    outlook(seen, [point_of(1.0, seen)])
    orjson.dumps([seen, workers(said)], option=orjson.OPT_NON_STR_KEYS)


@given(st.dictionaries(st.sampled_from(tuple(synthetic.document(1)["workers"][0])), ANYTHING))
def test_no_worker_breaks_the_table(broken: dict[str, Any]) -> None:
    row = workers({"workers": [synthetic.document(1)["workers"][0] | broken]})[0]
    assert len(row) == 8
    assert state_of(row) in ("busy", "idle", "silent")


def test_a_document_of_the_present_master_is_understood() -> None:
    """Jobs as texts, workers without addresses, no pair: what a master says that was not extended."""
    said: dict[str, Any] = {"crawl": "main", "operations": {"timeline": {"waiting": 3}}, "role": "leading"}
    said["workers"] = [{"name": "w", "room": 8, "jobs": ["T 12"], "completed": 1, "silent_s": 0.1}]
    seen = overview(said)
    assert seen["operations"]["timeline"]["waiting"] == 3
    assert seen["masters"]["pair"] is None
    assert workers(said) == [["w", "", 8, 1, None, 0.1, [["T", "12", None, None]], []]]


def test_budgets_whose_long_names_begin_alike_stay_two() -> None:
    keys = [f"service {'who' * 60}{end} lookup" for end in "ab"]
    rows = overview({"budgets": {key: {"available": 1} for key in keys}})["budgets"]
    assert len({row[0] for row in rows}) == 2
    assert all(len(row[0]) <= MAX_BUDGET_LENGTH for row in rows)


def test_jobs_in_hand_are_told_with_page_and_idleness() -> None:
    hand = {"operation": "F", "user": "12", "page": 3, "records": 500, "idle_s": 0.4}
    said = {
        "workers": [{"name": "w", "jobs": ["F 12"], "in_hand": [hand], "budgets": ["s"]}],
        "budgets": {"s": {"limit": 9, "in_doubt": 2}},
    }
    row = workers(said)[0]
    assert row[6] == [["F", "12", 3, 0.4]]
    assert row[7] == [["s", None, 9, 0, None, 2]]


def test_lists_and_texts_are_cut() -> None:
    said = {"crawl": "x" * 5_000, "workers": [{"name": "w", "jobs": ["T 1"] * 500}]}
    assert len(overview(said)["crawl"]) < 400
    assert len(workers(said)[0][6]) == MAX_JOBS


def test_a_time_is_read_in_both_forms() -> None:
    assert moment("1970-01-01T00:01:00.500Z") == 60.5
    assert moment(60.5) == 60.5
    assert moment("soon") is None
    assert moment(None) is None
