"""Searches the index of `tmatic-indexer` for the inspection page: its form becomes a query."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from services.indexer.posts import Document
from services.indexer.query import MAX_HITS, Unit
from services.indexer.search import Search as Index
from services.monitor.search import MAX_HASHTAGS, Findings, Question

MAX_BARS: Final = 90
"""Bars of the counts over time."""
DAY_S: Final = 86_400
HOURS_UNTIL_S: Final = 7 * DAY_S
"""Posts over a shorter period than that are counted by the hour."""


class IndexSearch:
    """`services.monitor.search.Search` over the index that the settings name."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def search(self, question: Question) -> Findings:
        """The posts that match a question. Raises UsageError for one that the index cannot parse."""
        began = time.perf_counter()
        short = (
            question.since is not None
            and question.until is not None
            and question.until - question.since <= HOURS_UNTIL_S
        )
        found = self._index.search(
            query_of(question),
            limit=question.count,
            offset=question.first,
            unit=Unit.HOUR if short else Unit.DAY,
            tags=MAX_HASHTAGS,
            located=MAX_HITS,
        )
        return Findings(
            found.answer.total,
            [_hit(post) for post in found.answer.hits],
            bars(found.answer.histogram, 3_600 if short else DAY_S),
            list(found.answer.hashtags),
            [
                (post.lat, post.lon, post.id, post.text)
                for post in found.located
                if post.lat is not None and post.lon is not None
            ],
            len(found.located) >= MAX_HITS,
            round(1000 * (time.perf_counter() - began), 1),
        )

    def post(self, identifier: str) -> bytes | None:
        """The line of a post as the service wrote it, or the index's copy when it is not in the dataset (yet)."""
        line = self._index.whole(identifier)
        if line is not None:
            return line
        post = self._index.post(identifier)
        return orjson.dumps(post.to_json()) if post is not None else None


def query_of(question: Question) -> str:
    """The question in the language of `services.indexer.query`. The words come last: an unclosed quote in them would
    include everything after it."""
    parts = []
    if question.author:
        parts.append(_said("user" if question.author.isdecimal() else "screen_name", question.author))
    if question.hashtag:
        parts.append(_said("hashtags", question.hashtag))
    if question.language:
        parts.append(_said("lang", question.language))
    if question.since is not None:
        parts.append(f"from:{_when(question.since)}")
    if question.until is not None:
        parts.append(f"to:{_when(question.until - 1)}")
    if question.located:
        parts.append("has:location")
    if question.oldest_first:
        parts.append("sort:oldest")
    return " ".join([*parts, question.words]).strip()


def _said(name: str, value: str) -> str:
    return f'{name}:"{value.replace(chr(34), " ").strip()}"'


def _when(second: float) -> str:
    """A time in the form of the query. Times beyond the calendar are clamped to its end."""
    return datetime.fromtimestamp(min(max(0, second), 4_294_967_294), UTC).strftime("%Y/%m/%dT%H:%M:%S")


def bars(counted: Sequence[tuple[int, int]], step: int) -> list[tuple[float, int]]:
    """At most `MAX_BARS` + 1 rows of [start, posts] of one width, including the empty ones between them."""
    if not counted:
        return []
    first, last = counted[0][0], counted[-1][0]
    width = step * max(1, -(-(last + step - first) // (step * MAX_BARS)))
    totals = [0] * ((last - first) // width + 1)
    for second, posts in counted:
        totals[(second - first) // width] += posts
    return [(float(first + place * width), posts) for place, posts in enumerate(totals)]


def _hit(post: Document) -> dict[str, Any]:
    return {
        "id": post.id,
        "user": post.user_id or post.account,
        "screen_name": post.screen_name,
        "text": post.text,
        "created_at": post.created_at or None,
        "language": post.lang,
        "hashtags": list(post.hashtags),
        "latitude": post.lat,
        "longitude": post.lon,
    }
