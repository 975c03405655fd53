"""Cookies as browsers send them, each parsed independently.

A browser sends a service the cookies of every program on the same host, on any port; they may contain anything. The
standard library's parser raises for some of these, and drops the cookies that follow others.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

MAX_OF_A_NAME: Final = 8
"""Cookies of one name that are examined: they may differ in their paths."""

MAX_VALUE_LENGTH: Final = 4_096
"""Characters of a value, as many as browsers keep."""


def cookies(environ: Mapping[str, Any], name: str) -> list[str]:
    """The values of the cookies with exactly this name, unchanged and in order."""
    pairs = (pair.strip(" \t").partition("=") for pair in str(environ.get("HTTP_COOKIE", "")).split(";"))
    values = (value for key, equals, value in pairs if key == name and equals and len(value) <= MAX_VALUE_LENGTH)
    return list(islice(values, MAX_OF_A_NAME))
