"""What the lookup reads of a profile, and which of two profiles of one account is valid.

The same account is seen among the followers of many, and each analysis keeps the profile as it was that day. Which one
is the newest must follow from the profiles alone, so that applying events, a late start, and rereading the files lead
to the same result. So profiles of one account are in a total order, by

  1. when the account last posted (`status.created_at`, `last_status_at`), which only grows; unknown is oldest;
  2. how many posts it has (`statuses_count`, `postsCount`);
  3. their bytes, which only make the decision deterministic.

The largest is valid, in whatever order they arrive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from protocol.errors import MalformedError
from storage import schema
from storage.dataset.interface import ID_KEYS, exactly

MAX_ID_BYTES: Final = 255
"""Of an id or a screen name, as everywhere in the protocol."""

MAX_BODY_BYTES: Final = 256 << 10
"""Of a profile. Those of real services have one to four thousand."""

LATEST: Final = 253_402_300_799
"""The last second of the year 9999 in UTC: no later one can be shown. A text with a time zone may lie beyond it."""

_MAX_COUNT: Final = 2**53
_MONTHS: Final = {"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * n : 3 * n + 3]: n + 1 for n in range(12)}
_TWITTER_TIME: Final = re.compile(r"\w{3} (\w{3}) (\d\d) (\d\d):(\d\d):(\d\d) \+0000 (\d{4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class KnownProfile:
    """A profile as it is stored: `body` is the JSON object, byte for byte as received.

    `name` is None when it has none. `posted` is when the account last posted, in Unix seconds, 0 when unknown;
    `posts` is how many posts it has.
    """

    id: str
    name: str | None
    posted: int
    posts: int
    body: bytes

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """Of the profiles of one account, the one with the largest rank is valid."""
        return self.posted, self.posts, self.body


def parsed(body: bytes) -> KnownProfile:
    """The profile in a line of JSON. Raises MalformedError when it is not a profile, has no id of at most 255 bytes, or
    is larger than `MAX_BODY_BYTES`."""
    if len(body) > MAX_BODY_BYTES:
        raise MalformedError(f"a profile is larger than {MAX_BODY_BYTES:,} bytes: {body[:40]!r}")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"a profile is not JSON: {body[:40]!r}") from error
    if not isinstance(said, dict):
        raise MalformedError(f"a profile is not a JSON object: {body[:40]!r}")
    identifier = _id(said, body)
    if identifier is None:
        raise MalformedError(f"a profile has no id under any of {', '.join(ID_KEYS)}: {body[:40]!r}")
    return KnownProfile(identifier, _name(said), _posted(said), _posts(said), body)


def newest(profiles: Iterable[KnownProfile]) -> dict[str, KnownProfile]:
    """The valid profile of each account, by id."""
    found: dict[str, KnownProfile] = {}
    for profile in profiles:
        there = found.get(profile.id)
        if there is None or profile.rank > there.rank:
            found[profile.id] = profile
    return found


def is_short(text: str) -> bool:
    """Whether a text is short enough for an id or a name. Half a surrogate pair is not a text."""
    try:
        return 0 < len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False


def moment(text: object) -> int:
    """Unix seconds of a time as services write it (`Wed Aug 27 13:08:45 +0000 2008`, ISO 8601), 0 for anything else;
    from 0 to `LATEST`."""
    if not isinstance(text, str):
        return 0
    try:
        if match := _TWITTER_TIME.fullmatch(text):
            month, day, hour, minute, second, year = match.groups()
            when = datetime(int(year), _MONTHS.get(month, 0), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        else:
            when = datetime.fromisoformat(text)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return min(max(0, int(when.timestamp())), LATEST)
    except (ValueError, OverflowError):
        return 0


def _id(said: dict[str, Any], body: bytes) -> str | None:
    for key in ID_KEYS:
        found = said.get(key)
        if isinstance(found, float):
            found = exactly(body, key)
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        if isinstance(found, str) and found:
            return found if is_short(found) else None
    return None


def _name(said: dict[str, Any]) -> str | None:
    for key in schema.PROFILE_NAME:
        found = said.get(key)
        if isinstance(found, str) and is_short(found):
            return found
    return None


def _posted(said: dict[str, Any]) -> int:
    status = said.get(schema.LAST_POST)
    last = status.get(schema.CREATED) if isinstance(status, dict) else None
    return max(moment(last), moment(said.get(schema.LAST_POSTED)))


def _posts(said: dict[str, Any]) -> int:
    for key in schema.POSTS:
        found = said.get(key)
        if isinstance(found, int) and not isinstance(found, bool):
            return min(max(found, 0), _MAX_COUNT)
    return 0
