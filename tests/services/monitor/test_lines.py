"""What a browser is sent of a line of the dataset is what the line says."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, strategies as st

from protocol.errors import DatasetError
from services.monitor.lines import EXACT, shown


def test_ids_that_a_browser_would_round_are_texts() -> None:
    said = shown(
        b'{"id": 1262348791234567891, "user": {"id": -9007199254740993}, "count": 7, "ids": [9007199254740992]}'
    )
    wanted = {"id": "1262348791234567891", "user": {"id": "-9007199254740993"}, "count": 7, "ids": ["9007199254740992"]}
    assert said == wanted


def test_what_is_nested_without_end_can_be_sent() -> None:
    assert orjson.dumps(shown(b'{"of": ' * 300 + b"1" + b"}" * 300))


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 64) - 1))
def test_a_whole_number_keeps_all_its_digits(value: int) -> None:
    said = shown(orjson.dumps({"value": value}))["value"]
    assert said == (value if abs(value) <= EXACT else str(value))


def test_a_line_that_is_no_json_is_told_in_words() -> None:
    with pytest.raises(DatasetError, match="not JSON"):
        shown(b"{")
