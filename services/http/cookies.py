"""Cookies as browsers send them, each read for itself.

A browser sends a service the cookies of every program on the same host, whatever its port; they may hold anything. The
standard library's parser raises for some of these, and drops what stands behind others.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

MAX_OF_A_NAME: Final = 8
"""Cookies of one name that are looked at: they may differ in their paths."""

MAX_VALUE_LENGTH: Final = 4_096
"""Characters of a value, as many as browsers keep."""


def cookies(environ: Mapping[str, Any], name: str) -> list[str]:
    """The values that came under exactly this name, as they stand there, in their order."""
    pairs = (pair.strip(" \t").partition("=") for pair in str(environ.get("HTTP_COOKIE", "")).split(";"))
    values = (value for key, equals, value in pairs if key == name and equals and len(value) <= MAX_VALUE_LENGTH)
    return list(islice(values, MAX_OF_A_NAME))
