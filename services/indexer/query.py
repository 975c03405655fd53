"""The query language: a text is parsed once into a `Query`, which each engine translates.

    rain "early train" #mare screen_name:ada lang:it from:2012/08/01 to:2012/08/31 near:45.4,9.2,50 sort:oldest

| written | means |
|---|---|
| `word` | the text has this word; several words: all of them, in any order. Case and width do not matter |
| `"some words"` | the text has these words side by side |
| `#tag`, `hashtags:tag` | the post has this hashtag |
| `screen_name:NAME`, `@NAME` | written by the account of this name |
| `user:ID`, `account:ID` | written by the account with this id; in the timeline of this account |
| `lang:CODE` | in this language |
| `id:ID` | the post of this id |
| `from:WHEN`, `to:WHEN` | not before, not after |
| `near:LAT,LON,KM` | posted within the square that extends so many kilometres to each side of the point |
| `has:location` | posted with a place |
| `sort:newest`, `sort:oldest` | the order; newest first by default |

WHEN is `2012`, `2012/08`, `2012/08/27` or `2012/08/27T13:08:45`, in UTC, and a date means the whole period; `-` may
replace `/`. All clauses must match. A colon after a word that is not a field is part of the word, as in `http://…`.
The cost of a query is limited before an engine receives it: its length, its terms, its pages. There are no wildcards.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from protocol.errors import UsageError
from services.indexer.posts import LATEST
from services.indexer.words import is_text, keyword, words_of

MAX_QUERY_LENGTH: Final = 1_000
"""Characters."""

MAX_TERMS: Final = 32
"""Words, words of phrases and fields of one query."""

MAX_HITS: Final = 1_000
"""Posts of one answer."""

DEEPEST: Final = 10_000
"""Offset and limit together: the default maximum of Elasticsearch."""

MAX_TAGS: Final = 100
"""Hashtags of one answer."""

MAX_HOURS_S: Final = 400 * 86_400
"""Seconds between from: and to: within which posts can be counted by the hour."""

_KM_PER_DEGREE: Final = 111.195
_MICRO: Final = 1_000_000

_PART: Final = re.compile(r'(?:(?P<field>[A-Za-z_]+):)?(?:"(?P<quoted>[^"]*)"|(?P<bare>\S+))')
_WHEN: Final = re.compile(
    r"(\d{4})(?:[/-](\d{1,2})(?:[/-](\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?)?)?Z?", re.ASCII
)


class Unit(Enum):
    """The unit of time by which posts are counted."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Term:
    """The field has exactly this value. Fields: id, account, user, screen_name, hashtags, lang, has."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """The text has these words side by side; a single word anywhere."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """A number lies between two, both included. Fields: created (seconds), lat, lon (millionths of a degree).

    When `least` is above `most` the range wraps around: everything from `least` up, and everything from `most` down.
    """

    field: str
    least: int
    most: int

    def holds(self, value: int) -> bool:
        """Whether a value is in the range."""
        if self.least > self.most:
            return value >= self.least or value <= self.most
        return self.least <= value <= self.most


Clause = Term | Phrase | Between


@dataclass(frozen=True, slots=True)
class Query:
    """All clauses must match; without any, every post matches. `unit` requests counts over time, `tags` the number of
    most frequent hashtags."""

    clauses: tuple[Clause, ...] = ()
    oldest_first: bool = False
    limit: int = 20
    offset: int = 0
    unit: Unit | None = None
    tags: int = 0

    def located(self, limit: int) -> Query:
        """The same query, restricted to posts with a place, and without counts."""
        return replace(self, clauses=(*self.clauses, Term("has", "location")), limit=limit, offset=0, unit=None, tags=0)


def micro_degrees(degrees: float) -> int:
    """Millionths of a degree, by which places are compared, so that all engines round alike."""
    return round(degrees * _MICRO)


def parse(text: str, *, limit: int = 20, offset: int = 0, unit: Unit | None = None, tags: int = 0) -> Query:
    """Parse a text into a query. Raises UsageError, which states what is wrong with it."""
    if not is_text(text):
        raise UsageError("the query holds bytes or letters that are not UTF-8, and no post has them")
    if len(text) > MAX_QUERY_LENGTH:
        raise UsageError(f"the query has {len(text):,} characters, and the limit is {MAX_QUERY_LENGTH:,}")
    if not 0 <= limit <= MAX_HITS:
        raise UsageError(f"the limit must be from 0 to {MAX_HITS:,}, not {limit:,}")
    if offset < 0 or offset + limit > DEEPEST:
        raise UsageError(
            f"offset and limit must not reach beyond the first {DEEPEST:,} posts; narrow the query instead"
        )
    if not 0 <= tags <= MAX_TAGS:
        raise UsageError(f"at most {MAX_TAGS} hashtags are counted, not {tags:,}")
    reading = _Reading()
    for match in _PART.finditer(text):
        reading.take(match["field"], match["quoted"], match["bare"])
    return _checked(reading, text, Query(tuple(reading.all()), reading.oldest_first, limit, offset, unit, tags))


def _checked(reading: _Reading, text: str, query: Query) -> Query:
    if reading.terms > MAX_TERMS:
        raise UsageError(f"the query has {reading.terms} words and fields, and the limit is {MAX_TERMS}")
    if text.strip() and not query.clauses and not reading.sorted:
        raise UsageError(f"there is no word in {text.strip()[:80]!r} that posts could be found by")
    if query.unit is Unit.HOUR and reading.until - reading.since > MAX_HOURS_S:
        raise UsageError("counts by the hour need from: and to: with at most 400 days between them")
    return query


@dataclass(slots=True)
class _Reading:
    """The part of a query that has been parsed so far."""

    clauses: list[Clause] = field(default_factory=list)
    terms: int = 0
    since: int = 1
    until: int = LATEST
    dated: bool = False
    sorted: bool = False
    oldest_first: bool = False

    def all(self) -> list[Clause]:
        """The clauses, each once; times are last. 0 is an unknown time, and in no range."""
        clauses = list(dict.fromkeys(self.clauses))
        return [*clauses, Between("created", self.since, self.until)] if self.dated else clauses

    def take(self, name: str | None, quoted: str | None, bare: str | None) -> None:
        """One part of the text: FIELD:VALUE, a word, or a phrase."""
        value = quoted if quoted is not None else bare or ""
        known = (name or "").lower()
        if value[-1:] == ":" and value[:-1].lower() in FIELDS and name is None and quoted is None:
            raise UsageError(f"{value} must be followed by a value, without a blank between them")
        if name is None or known not in FIELDS:
            whole = value if name is None else f"{name}:{value}"
            if quoted is None and name is None and value[:1] in "#@" and len(value) > 1:
                self._term("hashtags" if value[0] == "#" else "screen_name", value[1:])
                return
            self._words(whole)
        elif known in ("from", "to"):
            self._when(known, value)
        elif known == "near":
            self._near(value)
        elif known == "sort":
            self._sort(value)
        else:
            self._term(known, value)

    def _words(self, text: str) -> None:
        found = tuple(words_of(text))
        self.terms += max(1, len(found))
        if found:
            self.clauses.append(Phrase(found))

    def _term(self, name: str, value: str) -> None:
        self.terms += 1
        if name == "has" and value != "location":
            raise UsageError(f"has: is followed by location, not by {value[:80]!r}")
        plain = value if name in ("id", "account", "user") else keyword(value.removeprefix("#").removeprefix("@"))
        if not plain:
            raise UsageError(f"{name}: must be followed by a value, without a blank between them")
        self.clauses.append(Term(name, plain))

    def _sort(self, value: str) -> None:
        if value not in ("newest", "oldest"):
            raise UsageError(f"sort: is followed by newest or oldest, not by {value[:80]!r}")
        self.sorted, self.oldest_first = True, value == "oldest"

    def _when(self, name: str, value: str) -> None:
        self.terms += 1
        first, last = _span(name, value)
        self.dated = True
        if name == "from":
            self.since = max(self.since, first)
        else:
            self.until = min(self.until, last)
        if self.since > self.until:
            raise UsageError("from: must not be later than to:")

    def _near(self, value: str) -> None:
        self.terms += 2
        try:
            lat, lon, km = (float(part) for part in value.split(","))
        except ValueError:
            raise UsageError(f"near: is followed by LAT,LON,KM, not by {value[:80]!r}") from None
        if not (-90 <= lat <= 90 and -180 <= lon <= 180 and 0 < km <= 20_040):
            raise UsageError("near: needs a latitude from -90 to 90, a longitude from -180 to 180, and 0 to 20,040 km")
        self.clauses += _square(lat, lon, km)


FIELDS: Final = ("id", "account", "user", "screen_name", "hashtags", "lang", "has", "from", "to", "near", "sort")


def _span(name: str, value: str) -> tuple[int, int]:
    """The first and the last second of a year, a month, a day, a minute, or a second."""
    match = _WHEN.fullmatch(value)
    if match:
        year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups())
        assert year is not None
        try:
            first = datetime(year, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=UTC)
            last_month = month or 12
            last_day = day or monthrange(year, last_month)[1]
            whole_day = hour is None
            last = datetime(
                year,
                last_month,
                last_day,
                23 if whole_day else hour or 0,
                59 if whole_day else minute or 0,
                59 if second is None else second,
                tzinfo=UTC,
            )
        except ValueError:
            pass
        else:
            return max(1, int(first.timestamp())), min(LATEST, max(0, int(last.timestamp())))
    raise UsageError(f"{name}: is followed by a time such as 2012/08/27 or 2012/08/27T13:08:45, not by {value[:80]!r}")


def _square(lat: float, lon: float, km: float) -> list[Clause]:
    """The latitudes and longitudes within so many kilometres; near a pole every longitude."""
    high = km / _KM_PER_DEGREE
    least, most = max(-90.0, lat - high), min(90.0, lat + high)
    clauses: list[Clause] = [Between("lat", micro_degrees(least), micro_degrees(most))]
    narrow = math.cos(math.radians(min(90.0, max(abs(least), abs(most)))))
    wide = high / narrow if narrow > 1e-9 else 360.0
    if wide < 180:
        west, east = lon - wide, lon + wide
        west, east = west + 360 if west < -180 else west, east - 360 if east > 180 else east
        clauses.append(Between("lon", micro_degrees(west), micro_degrees(east)))
    return clauses
