"""JSON is kept as the service wrote it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from protocol.errors import MalformedError
from worker.documents import line, parse

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_whatever_json_says_survives_reading_and_writing(document: object) -> None:
    written = json.dumps(document).encode()
    assert json.loads(line(parse(written))) == document


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "1" * 40, '"\\ud800 half"'])
def test_what_the_fast_parser_would_lose_is_kept(text: str) -> None:
    assert json.loads(line(parse(text.encode()))) == json.loads(text)


@pytest.mark.parametrize("text", ["", "[1", "NaN", "[Infinity]", "<html>", "[" * 100_000, "1 2"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text.encode())


def test_a_line_has_no_newline() -> None:
    assert b"\n" not in line({"a": "b\nc", "d": "\ud800\n"})
