"""What a drill saw, and what is told and drawn of it."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given, strategies as st

from master.rehearsal.chart import Chart, ChartMark, svg, text
from master.rehearsal.timeline import (
    PAUSE_S,
    STILL_S,
    LeaderDetector,
    LeadershipSpan,
    LedgerSample,
    bands,
    held_up,
    rates,
    since,
)
from storage.ledger.ledger import Lead

STEP_S = 0.2


def looks(work: list[int], leader: int | None = 0) -> list[LedgerSample]:
    """One look each fifth of a second."""
    return [LedgerSample(round(number * STEP_S, 3), leader, 0.0, count, count) for number, count in enumerate(work)]


def lead(incarnation: str, beat: int, port: int = 8000) -> Lead:
    return Lead(incarnation, beat, 1, "id", f"host:{port}")


def test_who_leads_is_who_beats() -> None:
    pulse = LeaderDetector(8000)
    assert pulse.see(0.0, lead("a", 1)) == 0
    assert pulse.see(0.2, lead("a", 1)) == 0
    assert pulse.see(0.3 + STILL_S, lead("a", 1)) is None
    assert pulse.see(1.0, lead("b", 1, 8001)) == 1
    assert pulse.see(1.1, Lead("", 0, 1, "id", "host:8001")) is None
    assert pulse.see(1.2, None) is None


def test_a_lead_that_lapsed_ended_with_its_last_beat() -> None:
    samples = [
        LedgerSample(0.0, 0, 0.0, 0, 0),
        LedgerSample(1.0, 0, 0.4, 0, 0),
        LedgerSample(1.2, None, 0.4, 0, 0),
        LedgerSample(2, 1, 2, 0, 0),
    ]
    assert bands(samples, 3.0) == [LeadershipSpan(0.0, 0.4, 0), LeadershipSpan(0.4, 2, None), LeadershipSpan(2, 3.0, 1)]


@given(st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=60))
def test_bands_cover_the_drill_without_a_gap(leaders: list[int | None]) -> None:
    samples = [LedgerSample(number * STEP_S, leader, number * STEP_S, 0, 0) for number, leader in enumerate(leaders)]
    found = bands(samples, len(leaders) * STEP_S)
    assert found[0].from_s == 0.0 and found[-1].to_s == len(leaders) * STEP_S
    assert all(one.to_s == other.from_s and one.leader != other.leader for one, other in pairwise(found))


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60))
def test_rates_add_up_to_the_jobs(steps: list[int]) -> None:
    samples = looks([sum(steps[: number + 1]) for number in range(len(steps))])
    end_s = float(int(samples[-1].at_s) + 1)
    assert abs(sum(rates(samples, end_s, 1.0)) - (samples[-1].jobs - samples[0].jobs)) < 1e-6


def test_a_pause_that_a_mishap_made_is_told_to_its_end() -> None:
    work = [*range(10), *[9] * 10, *range(10, 40)]
    assert held_up(looks(work), 1.9, 7.0, over=False) == round(20 * STEP_S - 1.9, 1)


def test_work_that_never_paused_was_not_held_up() -> None:
    assert held_up(looks(list(range(40))), 2.0, 7.0, over=False) == 0.0
    assert PAUSE_S > STEP_S


def test_a_pause_that_began_as_the_next_mishap_struck_is_not_told_twice() -> None:
    work = [*range(20), *[19] * 10, *range(20, 40)]
    assert held_up(looks(work), 1.0, 4.0, over=False) == 0.0
    assert held_up(looks(work), 4.0, 9.0, over=False) == 2.0


def test_work_that_did_not_go_on_is_told() -> None:
    work = [*range(10), *[9] * 40]
    assert held_up(looks(work), 1.9, 30.0, over=False) is None
    assert held_up(looks(work), 1.9, 30.0, over=True) == 0.0


def test_the_clock_of_a_drill_begins_with_its_first_work() -> None:
    samples = [LedgerSample(100.0 + number, 0, 100.0, 0, 0) for number in range(5)]
    assert [one.at_s for one in since(samples, 101.0, 103.0)] == [0.0, 1.0, 2.0]


MARKS = st.lists(
    st.builds(ChartMark, st.floats(0, 60), st.floats(0, 9), st.text("<>&\"' kill master@:0123456789é", max_size=200)),
    max_size=40,
)


@given(MARKS, st.lists(st.floats(0, 1e5), max_size=60))
def test_whatever_happened_the_picture_is_well_formed_and_names_it(marks: list[ChartMark], jobs: list[float]) -> None:
    picture = Chart("A drill", "The audit is <clean> & well.", 60.0, [LeadershipSpan(0, 60, 0)], jobs, 1.0, marks)
    root = ElementTree.fromstring(svg(picture))
    words = " ".join(root.itertext())
    assert all(mark.words in words for mark in marks)
    assert root.get("role") == "img" and {"title", "words"} <= {one.get("id") for one in root.iter()}


@given(MARKS, st.lists(st.floats(0, 1e5), max_size=60), st.integers(30, 200))
def test_the_picture_for_a_terminal_keeps_its_width(marks: list[ChartMark], jobs: list[float], columns: int) -> None:
    picture = Chart(
        "A drill", "Clean.", 60.0, [LeadershipSpan(0, 30, 0), LeadershipSpan(30, 60, None)], jobs, 1.0, marks
    )
    lines = text(picture, columns).splitlines()
    assert len(lines) == 4 and all(len(line) <= columns for line in lines)
    assert "0" in lines[1] and "·" in lines[1]
