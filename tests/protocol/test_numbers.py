"""Whole numbers in text from outside."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.numbers import MAX_INT64, whole_number


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_number_is_read_if_it_is_no_larger_than_the_most(number: int, most: int) -> None:
    expected = number if number <= most else None
    assert whole_number(str(number), most) == expected
    assert whole_number(b"%d" % number, most) == expected


@given(st.text(max_size=8))
def test_any_text_is_digits_or_no_number(text: str) -> None:
    number = whole_number(text, 10**8 - 1)
    assert (number is None) == (text == "" or not set(text) <= set("0123456789"))


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1 ", "1_0", "1.0", "²", "٣", "007", "9" * 10_000, b"", b"\xb2"]
)
def test_what_is_no_number_up_to_99(text: str | bytes) -> None:
    assert whole_number(text, 99) is None


def test_the_largest_id_is_one_and_the_next_is_none() -> None:
    assert whole_number(str(MAX_INT64), MAX_INT64) == MAX_INT64
    assert whole_number(str(MAX_INT64 + 1), MAX_INT64) is None
