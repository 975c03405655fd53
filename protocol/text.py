"""Names and addresses from outside, as text that is safe to show and send.

A file's name is bytes. Where they do not fit the locale's encoding, Python keeps each as a lone surrogate, which UTF-8
cannot represent: JSON, msgpack and terminals refuse it, or worse, pass it on to a program that does.
"""

from __future__ import annotations

import re
from typing import Final

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_BYTES: Final = range(0xDC80, 0xDD00)
"""The surrogates that stand for a byte from 0x80 to 0xff (PEP 383)."""
_IDENTITY: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)
_QUERY: Final = re.compile(r"\?.*", re.DOTALL)
_VALUE: Final = re.compile(r"([?&](?:[^=&]*=)?)[^&]*")


def without_secrets(url: str) -> str:
    """The same URL, valid or not, with `…` in place of everything before the host and of every value of its query."""
    return _QUERY.sub(lambda query: _VALUE.sub(r"\1…", query.group()), _IDENTITY.sub(r"\1…@", url))


def plain(text: str) -> str:
    """The same text if UTF-8 can represent it, else with the rest escaped: `caf\\xe9.txt`."""
    return text if text.isascii() else _SURROGATES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number - 0xDC00:02x}" if number in _BYTES else f"\\u{number:04x}"
