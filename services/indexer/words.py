"""Splits text into words, the same for every engine: they receive words, and never split text themselves.

Rules:
  * text is normalized to Unicode's NFKC form and its case is folded; nothing is stemmed and no word is left out;
  * a word is a run of letters, digits, marks and underscores; everything between words is dropped;
  * in scripts without blanks (Han, Kana, Thai, Lao, Khmer, Burmese) each character is a word;
  * a word longer than `MAX_WORD_LENGTH` is truncated, in posts and in queries alike.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_WORD_LENGTH: Final = 80
"""Characters. Lucene splits words longer than 255 UTF-16 units, Whoosh and tantivy do not: all words stay below."""

MAX_KEYWORD_LENGTH: Final = 256
"""Characters of a name, a tag or a language, which are one word each."""


_JOINERS: Final = (0x200C, 0x200D)


def _marks() -> str:
    """Marks, which belong to the preceding letter, and the two joiners that occur inside Persian and Indic words."""
    return "".join(
        chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M" or code in _JOINERS
    )


_BLANKLESS: Final = "".join(
    (
        "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff",  # Thai and Lao, Burmese, Khmer
        "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",  # Kana, Han
    )
)
_MARKS: Final = _marks()
_WORD: Final = re.compile(f"(?=\\w)[{_BLANKLESS}][{_MARKS}]*|(?![{_BLANKLESS}])\\w(?:(?![{_BLANKLESS}])[\\w{_MARKS}])*")
_ASCII_WORD: Final = re.compile(r"[a-z0-9_]+")


def folded(text: str) -> str:
    """The form in which texts are compared."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words_of(text: str) -> list[str]:
    """The words of a text in order, with repetitions."""
    text = folded(text)
    found = (_ASCII_WORD if text.isascii() else _WORD).findall(text)
    return [word[:MAX_WORD_LENGTH] for word in found]


def keyword(text: str) -> str:
    """A name, a tag or a language as it is compared: one word of any characters but NUL, which ends a tag in a column
    of Whoosh; it may be empty."""
    return folded(text[: 4 * MAX_KEYWORD_LENGTH].replace("\0", "")).strip()[:MAX_KEYWORD_LENGTH]


def is_text(text: str) -> bool:
    """Whether it can be encoded in UTF-8: text from invalid bytes, or with half a surrogate pair, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
