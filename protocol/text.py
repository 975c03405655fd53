"""Names and addresses that others gave us, as text that may be told to anybody.

A file's name is bytes. Where they do not fit the locale's encoding, Python keeps each as half a surrogate, which no
UTF-8 can hold: JSON, msgpack and a terminal refuse it, or worse, pass it on to somebody who does.
"""

from __future__ import annotations

import re
from typing import Final

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_BYTES: Final = range(0xDC80, 0xDD00)
"""The surrogates that stand for a byte from 0x80 to 0xff, as PEP 383 has it."""
_IDENTITY: Final = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)
_QUERY: Final = re.compile(r"\?.*", re.DOTALL)
_VALUE: Final = re.compile(r"([?&](?:[^=&]*=)?)[^&]*")


def without_secrets(url: str) -> str:
    """The same URL, or what was meant for one, with `…` for all that stands before the host and for every value of
    its query."""
    return _QUERY.sub(lambda query: _VALUE.sub(r"\1…", query.group()), _IDENTITY.sub(r"\1…@", url))


def plain(text: str) -> str:
    """The same text where any UTF-8 can hold it, else with what it cannot hold escaped: `caf\\xe9.txt`."""
    return text if text.isascii() else _SURROGATES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number - 0xDC00:02x}" if number in _BYTES else f"\\u{number:04x}"
