"""JSON is kept so that whoever reads the dataset reads what the service wrote, and nothing that no reader can take."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from protocol.errors import MalformedError
from storage.dataset.interface import RecordKind, record_id
from worker.sources.json_records import line, parse

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

ANY_TEXT = st.text(st.characters(exclude_categories=())).flatmap(
    lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False)])
)
"""As JSON, halves of surrogate pairs included, escaped or raw."""

NUMBERS = st.integers(-(10**400), 10**400).map(str) | st.from_regex(
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
)


def an_object(items: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in items) + "}"


JSON_TEXTS = st.recursive(
    st.sampled_from(["null", "true", "false"]) | ANY_TEXT | NUMBERS,
    lambda inner: (
        st.lists(inner).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(ANY_TEXT, inner), max_size=5).map(an_object)
    ),
    max_leaves=15,
)
IDS = (st.integers(0, 2**64) | st.integers(2**63, 10**31 - 1)).flatmap(
    lambda one: st.sampled_from([("id_str", f'"{one}"'), ("id", str(one))])
)


@given(DOCUMENTS)
def test_whatever_json_says_survives_reading_and_writing(document: object) -> None:
    written = json.dumps(document).encode()
    assert json.loads(line(parse(written))) == document


@given(IDS, JSON_TEXTS)
def test_whatever_is_json_becomes_a_line_that_every_reader_takes_and_that_has_its_id(
    named: tuple[str, str], more: str
) -> None:
    name, number = named
    body = an_object([(f'"{name}"', number), ('"more"', more)]).encode("utf-8", "surrogatepass")
    json.loads(body)
    kept = line(parse(body))
    assert kept.decode().count("\n") == 0
    assert orjson.loads(kept).keys() == {name, "more"}
    assert record_id(RecordKind.TIMELINE, kept) == number.strip('"')


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, 10**22 + 1, 10**30 + 7])
def test_the_id_of_a_line_is_its_digits_also_beyond_64_bits(number: int) -> None:
    for body in (b'{"id": %d, "uri": "x"}' % number, b'{"id_str": "%d", "id": 1}' % number):
        assert record_id(RecordKind.PROFILES, line(parse(body))) == str(number)


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "1" * 40, "1" * 308])
def test_what_the_fast_parser_would_lose_is_kept(text: str) -> None:
    kept = line(parse(text.encode()))
    assert kept == text.encode()
    orjson.loads(kept)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (rb'"\ud800 half"', "\ufffd half"),
        (b'"\xed\xa0\x80 half"', "\ufffd half"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'{"\udc00": "\ud83d"}', {"\ufffd": "\ufffd"}),
        (b"1e400", "1e400"),
        (b"-1E999", "-1E999"),
        (b"9" * 5000, "9" * 5000),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_what_no_reader_could_take_is_mended(body: bytes, kept: Any) -> None:
    assert parse(body) == kept
    assert orjson.loads(line(parse(body))) == kept


@pytest.mark.parametrize("text", ["", "[1", "NaN", "[Infinity]", "<html>", "[" * 100_000, "1 2"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text.encode())


@pytest.mark.parametrize("depth", [100, 253, 254, 600, 900, 980, 1000, 1023, 1024, 5000])
@pytest.mark.parametrize("inside", ["", "1e400", "9" * 20, r'"\ud800"'])
def test_what_is_nested_is_kept_or_refused_in_words(depth: int, inside: str) -> None:
    body = ("[" * depth + inside + "]" * depth).encode()
    try:
        orjson.loads(line(parse(body)))
    except MalformedError:
        assert depth > 254


def test_a_line_has_no_newline() -> None:
    assert b"\n" not in line({"a": "b\nc", "d": "\ud800\n"})
