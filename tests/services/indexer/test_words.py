"""How text becomes words, which every engine is handed alike."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from services.indexer.words import MAX_KEYWORD_LENGTH, MAX_WORD_LENGTH, keyword, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop: the rain!", ["don", "t", "stop", "the", "rain"]),
        ("CAFFÈ caffè cafe\u0300", ["caffè", "caffè", "cafè"]),
        ("#open_data @Ada_1", ["open_data", "ada_1"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("電車は 九時", ["電", "車", "は", "九", "時"]),
        ("ﾃｽﾄ ＡＢＣ ﬁn", ["テ", "ス", "ト", "abc", "fin"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("👩‍👩‍👧 🌊 …", []),
        ("", []),
    ],
)
def test_a_text_has_these_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text())
def test_words_hold_no_blank_are_never_too_long_and_stay_themselves(text: str) -> None:
    for word in words_of(text):
        assert word
        assert len(word) <= MAX_WORD_LENGTH
        assert not any(char.isspace() for char in word)
        assert words_of(word) == [word] or len(word) == MAX_WORD_LENGTH


def test_a_keyword_holds_no_nul() -> None:
    assert [keyword(text) for text in ("a\0b", "\0", " \0 ", "\0" * 9 + "Mare")] == ["ab", "", "", "mare"]


@given(st.text())
def test_a_keyword_is_bounded(text: str) -> None:
    assert len(keyword(text)) <= MAX_KEYWORD_LENGTH
