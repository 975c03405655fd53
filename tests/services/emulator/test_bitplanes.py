"""Counting for all places at once gives what counting one by one gives."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from services.emulator.worlds.bitplanes import Planes


@settings(max_examples=200, deadline=None)
@given(places=st.integers(1, 40), data=st.data())
def test_turned_sets_are_counted_at_every_place(places: int, data: st.DataObject) -> None:
    sets = data.draw(st.lists(st.tuples(st.sets(st.integers(0, places - 1)), st.integers(0, places)), max_size=300))
    planes = Planes(places)
    counted = [0] * places
    for members, step in sets:
        planes.add_turned(sum(1 << member for member in members), step)
        for member in members:
            counted[(member + step) % places] += 1
    assert list(planes.totals()) == counted


def test_counts_beyond_a_byte_are_exact() -> None:
    planes = Planes(9)
    for number in range(70_000):
        planes.add_turned(0b101 if number % 2 else 0b1, 8)
    assert list(planes.totals()) == [0, 35_000, 0, 0, 0, 0, 0, 0, 70_000]
