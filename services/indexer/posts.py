"""A post as it is indexed, parsed from its line in the dataset.

The v1.1 form of Twitter is read first (`text` or `full_text`, `user`, `entities`, `coordinates`); the v2 form, and the
equivalent fields of Mastodon and Bluesky, are read where present. The rest of a line stays in the dataset only. A field
that is missing or malformed is left out: a post is never refused for it, unless it has no id.

A text is found in the same way in every form:

| form | the text, with its hashtags |
|---|---|
| plain | `text` |
| extended | `full_text`, at the top or in `extended_tweet` |
| repost | the whole text of `retweeted_status` or `reblog`, not the truncated one around it, after its `RT @name: ` |
| quote | the post's own, then `QT @name: ` and that of `quoted_status`, `quote` or `embed` |
"""

from __future__ import annotations

import re
import time
import zlib
from calendar import timegm
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from protocol.errors import MalformedError
from protocol.numbers import whole_number
from services.indexer.words import keyword, words_of
from storage import schema
from storage.dataset.interface import MAX_ID_CHARACTERS, RecordKind, record_id

MAX_TEXT_LENGTH: Final = 20_000
"""Characters of a text that are kept and searched."""

MAX_TAGS: Final = 100
"""Hashtags of one post."""

READING: Final = 2
"""The version of this parser: incremented when a line would be indexed differently than before."""

LATEST: Final = 2**32 - 1
"""Seconds since 1970, in the year 2106: later times are clamped to it."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_V1_TIME: Final = re.compile(r"\w{3} (\w{3}) (\d\d) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d) (\d{4})", re.ASCII)
_SNOWFLAKE_EPOCH_MS: Final = 1_288_834_974_657
_REPOSTED: Final = re.compile(r"RT @[^\s:]{1,256}: ")
_ESCAPES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
"""The escapes of v1.1 for these three characters in texts."""


@dataclass(frozen=True, slots=True)
class Document:
    """One post in the index.

    `created_at` is in seconds since 1970, UTC, 0 when unknown; `account` is the one whose timeline has it, `user_id`
    its author. `lat` and `lon` are in degrees; both or neither. `hashtags` are without `#`, case folded.
    """

    id: str
    account: str
    text: str = ""
    screen_name: str = ""
    user_id: str = ""
    created_at: int = 0
    hashtags: tuple[str, ...] = ()
    lang: str = ""
    lat: float | None = None
    lon: float | None = None

    @property
    def rank(self) -> int:
        """The sort key of posts: the second and then, from Twitter's ids, the millisecond and sequence in it; a signed
        number of 64 bits."""
        return (self.created_at - 2**31 << 32) | _within_second(self.id)

    @property
    def words(self) -> list[str]:
        """The words of the text."""
        text = self.text
        for escape, character in _ESCAPES:
            text = text.replace(escape, character)
        return words_of(text)

    @property
    def size(self) -> int:
        """Its approximate size in bytes in memory and on the wire."""
        return 200 + 4 * len(self.text) + sum(map(len, self.hashtags))

    def packed(self) -> bytes:
        """As JSON, for an engine to store."""
        return orjson.dumps(self)

    @classmethod
    def unpacked(cls, raw: bytes | str) -> Document:
        """The document that `packed` wrote. Raises MalformedError."""
        try:
            value = orjson.loads(raw)
            return cls(**{**value, "hashtags": tuple(value["hashtags"])})
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedError(f"the index holds a post that cannot be read: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """For people and pages: the time as `yyyy/MM/dd HH:mm:ss`, UTC, and in seconds; absent values are null."""
        return {
            "id": self.id,
            "account": self.account,
            "user_id": self.user_id,
            "screen_name": self.screen_name,
            "text": self.text,
            "created_at": shown_time(self.created_at) if self.created_at else None,
            "created_s": self.created_at or None,
            "hashtags": list(self.hashtags),
            "lang": self.lang or None,
            "location": None if self.lat is None else {"lat": self.lat, "lon": self.lon},
        }


def shown_time(second: int) -> str:
    """A time as the original's index shows it: `2012/08/27 13:08:45`, UTC."""
    return time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(second))


def document(line: bytes, account: str) -> Document:
    """The document of a stored line of a timeline. Raises MalformedError when it is not a post with an id."""
    identifier = record_id(RecordKind.TIMELINE, line)
    if len(identifier) > MAX_ID_CHARACTERS:
        raise MalformedError(
            f"a post has an id of {len(identifier):,} characters, and the limit is {MAX_ID_CHARACTERS}"
        )
    post: dict[str, Any] = orjson.loads(line)
    record = _object(post.get(schema.RECORD))
    author = _author(post)
    point = _point(post)
    original = _first_object(post, *schema.REPOSTED)
    quoted = _quoted(original or post)
    return Document(
        id=identifier,
        account=account,
        text=_whole_text(post, original, quoted)[:MAX_TEXT_LENGTH],
        screen_name=_name(author),
        user_id=_first(author, *schema.AUTHOR_ID) or _first(post, *schema.POST_AUTHOR_ID) or account,
        created_at=_time(_first(post, schema.CREATED) or _first(record, schema.CREATED_IN_RECORD)),
        hashtags=tuple(_tags(post, original, quoted)),
        lang=keyword(
            _first(post, *schema.LANGUAGE)
            or next(_texts(record.get(schema.LANGUAGES)), "")
            or _first(original, *schema.LANGUAGE)
        ),
        lat=point[0] if point else None,
        lon=point[1] if point else None,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first_object(of: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The first of these fields that holds a non-empty object; an empty one when there is none."""
    return next((found for name in names if (found := _object(of.get(name)))), {})


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> Iterator[str]:
    return (one for one in _list(value) if isinstance(one, str))


def _first(of: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that holds a string or an integer, as a string."""
    for name in names:
        value = of.get(name)
        if isinstance(value, str) and value:
            return value[:MAX_ID_CHARACTERS]
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def _author(post: Mapping[str, Any]) -> dict[str, Any]:
    return _first_object(post, *schema.AUTHOR)


def _name(author: Mapping[str, Any]) -> str:
    return _first(author, *schema.AUTHOR_NAME)[:256]


def _quoted(post: Mapping[str, Any]) -> dict[str, Any]:
    """The quoted post; empty when there is none, or the service does not show it."""
    if found := _object(post.get(schema.QUOTED)):
        return found
    if found := _object(post.get(schema.QUOTE)):
        return _object(found.get(schema.QUOTED)) or found  # Mastodon nests the quoted post one level deeper
    shown = _object(_object(post.get(schema.EMBED)).get(schema.RECORD))
    shown = _object(shown.get(schema.RECORD)) or shown  # beside a picture
    return shown if isinstance(shown.get(schema.VALUE), dict) else {}


def _places(post: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The objects that may hold the text and the hashtags of a post, the whole text first."""
    return (
        _object(post.get(schema.EXTENDED)),
        post,
        *(_object(post.get(name)) for name in (schema.RECORD, schema.VALUE)),
    )


def _text(post: Mapping[str, Any]) -> str:
    for place in _places(post):
        for name in schema.TEXT:
            value = place.get(name)
            if isinstance(value, str) and value:
                return value
    return ""


def _whole_text(post: Mapping[str, Any], original: Mapping[str, Any], quoted: Mapping[str, Any]) -> str:
    text = _text(post)
    if original and (whole := _text(original)):
        begin = _REPOSTED.match(text)
        text = (begin[0] if begin else "") + whole
    if other := _text(quoted):
        # The separator prevents phrases from the last words of one and the first of the other.
        text = f"{text}\nQT @{_name(_author(quoted))}: {other}"
    return text


def _tags(*posts: Mapping[str, Any]) -> list[str]:
    """The hashtags of a post and of what it reposts or quotes, each once."""
    found: dict[str, None] = {}
    for place in (place for post in posts for place in _places(post)):
        for entry in _entries(place)[: 4 * MAX_TAGS]:
            name = entry if isinstance(entry, str) else _first(_object(entry), *schema.HASHTAG)
            tag = keyword(name.removeprefix("#"))
            if tag and len(found) < MAX_TAGS:
                found[tag] = None
    return list(found)


def _entries(place: Mapping[str, Any]) -> list[Any]:
    """The hashtag entries of a post: v1.1 and v2 below `entities`, Mastodon as `tags`, Bluesky within `facets`."""
    facets = (_object(facet).get(schema.FEATURES) for facet in _list(place.get(schema.FACETS))[: 4 * MAX_TAGS])
    return (
        _list(_object(place.get(schema.ENTITIES)).get(schema.HASHTAGS))
        or _list(place.get(schema.TAGS))
        or [feature for features in facets for feature in _list(features) if schema.TAG in _object(feature)]
    )


def _point(post: Mapping[str, Any]) -> tuple[float, float] | None:
    """Latitude and longitude. `coordinates` is GeoJSON and has the longitude first; the older `geo` has it last."""
    v2 = _object(_object(post.get(schema.GEO)).get(schema.COORDINATES))
    for pair, reverse in (
        (_object(post.get(schema.COORDINATES)).get(schema.COORDINATES), True),
        (v2.get(schema.COORDINATES), True),
        (_object(post.get(schema.GEO)).get(schema.COORDINATES), False),
    ):
        numbers = [one for one in _list(pair) if isinstance(one, int | float) and not isinstance(one, bool)]
        if len(numbers) == 2:
            lat, lon = reversed(numbers) if reverse else numbers
            if -90 <= lat <= 90 and -180 <= lon <= 180:
                return round(float(lat), 6), round(float(lon), 6)
    return None


def _time(text: str) -> int:
    """Seconds since 1970, 0 when the text is not a time in a known format."""
    match = _V1_TIME.fullmatch(text)
    try:
        if match and match[1] in _MONTHS:
            second = _day(int(match[9]), _MONTHS.index(match[1]) + 1, int(match[2]))
            second += int(match[3]) * 3600 + int(match[4]) * 60 + int(match[5])
            offset = int(match[7]) * 3600 + int(match[8]) * 60
            second += offset if match[6] == "-" else -offset
        else:
            when = datetime.fromisoformat(text)
            second = int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return 0
    return min(max(0, second), LATEST)


@lru_cache(maxsize=4096)
def _day(year: int, month: int, day: int) -> int:
    return timegm(datetime(year, month, day, tzinfo=UTC).timetuple())


def _within_second(identifier: str) -> int:
    """32 bits that order the posts of one second: by the id for Twitter's, arbitrarily for others."""
    number = whole_number(identifier, 10**19 - 1)
    if number is not None:
        if number >> 22:
            return ((number >> 22) + _SNOWFLAKE_EPOCH_MS) % 1000 << 22 | number & 0x3FFFFF
        return number & 0xFFFFFFFF
    return zlib.crc32(identifier.encode("utf-8", "surrogatepass"))
