"""The inspection page's queries of an index of posts, and what it shows of the answer.

`SearchPage` is the interface that the pages need, whichever index implements it. Without one the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from protocol.errors import UsageError
from protocol.numbers import whole_number

MAX_HITS: Final = 100
"""Posts of one answer."""
LAST_HIT: Final = 10_000
"""The last post that can be paged to; a narrower question is of more use."""
MAX_LOCATED: Final = 2_000
MAX_HASHTAGS: Final = 40
MAX_QUESTION_LENGTH: Final = 500


@dataclass(frozen=True, slots=True)
class Question:
    """The search criteria. Empty texts match everything; `since` and `until` are Unix seconds, None for open ends."""

    words: str = ""
    author: str = ""
    hashtag: str = ""
    language: str = ""
    since: float | None = None
    until: float | None = None
    located: bool = False
    oldest_first: bool = False
    first: int = 0
    count: int = 20


@dataclass(frozen=True, slots=True)
class Findings:
    """`hits` are posts, each {"id", "user", "screen_name", "text", "created_at" (Unix seconds), "language",
    "hashtags", "place", "latitude", "longitude"}, without unknown keys; `histogram` rows of [start in Unix seconds,
    posts], of one width; `hashtags` rows of [tag, posts]; `located` rows of [latitude, longitude, id, text], the first
    ones in the requested order, and `located_more` whether there may be more of them.
    """

    total: int
    hits: list[dict[str, Any]]
    histogram: list[tuple[float, int]] = field(default_factory=list)
    hashtags: list[tuple[str, int]] = field(default_factory=list)
    located: list[tuple[float, float, str, str]] = field(default_factory=list)
    located_more: bool = False
    took_ms: float = 0.0


class SearchPage(Protocol):
    """An index of posts. Both methods raise TmaticError with a message for people when it cannot answer."""

    def search(self, question: Question) -> Findings:
        """The posts that match a question."""

    def post(self, identifier: str) -> bytes | None:
        """The line of a post, JSON as the service sent it, None when there is none."""


def question_of(asked: Mapping[str, str]) -> Question:
    """The question in the parameters of a request. Raises UsageError, which names the invalid one."""
    texts = {}
    for name, key in (("q", "words"), ("author", "author"), ("hashtag", "hashtag"), ("language", "language")):
        value = asked.get(name, "").strip()
        if len(value) > MAX_QUESTION_LENGTH:
            raise UsageError(f"{name} is too long: at most {MAX_QUESTION_LENGTH} characters")
        texts[key] = value.lstrip("#") if key == "hashtag" else value.lstrip("@") if key == "author" else value
    first, count = _whole(asked, "first", 0), _whole(asked, "count", 20)
    if first + count > LAST_HIT or count > MAX_HITS:
        raise UsageError(f"at most {MAX_HITS} posts a page, and none beyond the {LAST_HIT:,}th: ask more narrowly")
    sort = asked.get("sort", "newest")
    if sort not in ("newest", "oldest"):
        raise UsageError("sort is newest or oldest")
    return Question(
        **texts,
        since=_moment(asked, "since"),
        until=_moment(asked, "until"),
        located=asked.get("located", "") in ("1", "true", "on"),
        oldest_first=sort == "oldest",
        first=first,
        count=count,
    )


def _whole(asked: Mapping[str, str], name: str, default: int) -> int:
    number = whole_number(asked.get(name, "") or str(default), 10**9 - 1)
    if number is None:
        raise UsageError(f"{name} is a whole number from 0 on")
    return number


def _moment(asked: Mapping[str, str], name: str) -> float | None:
    value = asked.get(name, "")
    if not value:
        return None
    try:
        moment = float(value)
    except ValueError:
        moment = -1.0
    if not 0 <= moment < 1e11:
        raise UsageError(f"{name} is a time in Unix seconds")
    return moment
