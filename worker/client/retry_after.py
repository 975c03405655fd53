"""The header Retry-After (RFC 9110, 10.2.3), in seconds or as a date.

| value | wait |
|---|---|
| seconds | that long, from the arrival of the response |
| a date | its distance from the response's own Date, so that no clock need be right; without one, from our clock |
| a date in the past, 0 | none |
| more than `MAX_WAIT_S` | `MAX_WAIT_S`: one request a day does no harm, and a wrong value must not end a crawl |
| negative, a fraction, anything else | none |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 86_400
"""The longest wait in seconds, whatever the header says."""
_MAX_DIGITS = len(str(MAX_WAIT_S))


def retry_after_s(headers: Mapping[str, str], at: float) -> float:
    """How many seconds to wait from the arrival of a response with these headers, 0 without the header; `at` is the
    arrival by the local wall clock."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        digits = said.lstrip("0") or "0"
        return float(MAX_WAIT_S if len(digits) > _MAX_DIGITS else min(int(digits), MAX_WAIT_S))
    until = service_time(said)
    if until is None:
        return 0.0
    now = service_time(headers.get("Date", ""))
    return min(max(0.0, until - (at if now is None else now)), float(MAX_WAIT_S))


def service_time(text: str) -> float | None:
    """The seconds since 1970 of a date in a header, None if it is invalid. One without a zone is GMT, as all are."""
    try:
        date: datetime = parsedate_to_datetime(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
