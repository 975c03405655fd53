"""Writes profiles and posts in the shape of the v1.1 API, each a pure function of (seed, account, position).

Posts are byte templates that are filled in, never objects that are serialised: a page of 200 takes about a
millisecond and is not stored. Text and entities come from a small pool of bodies per language; a post is made unique by
its id, its time and the last word of its text. A key without content is absent, not null and not empty.

Some entries of the pool repost or quote a post by another account of the world, as it is in that account's timeline.
A post that is older than the one it would repost or quote gets an ordinary text instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from services.emulator.worlds import authors, bodies, profiles
from services.emulator.worlds.authors import Author, screen_name
from services.emulator.worlds.bodies import OWN_LENGTH, Body
from services.emulator.worlds.encoding import v1_time
from services.emulator.worlds.hashing import digest64, mix
from services.emulator.worlds.shortening import code_of, reposted
from services.emulator.worlds.world import AccountState, Style

_BODIES_PER_LANGUAGE: Final = 160
_REPOSTS: Final = range(50)
_QUOTES: Final = range(50, 70)
"""The entries of the pool that repost and that quote."""

_AUTHORS_KEPT: Final = 4096
_TRIES: Final = 50
"""Accounts and posts that are examined to find one that can be reposted."""

_OWN_MASK: Final = (1 << 4 * OWN_LENGTH) - 1

Shown = Callable[[int], tuple[bytes, int] | None]
"""The profile of an account and how many of its posts are visible; None when they are not public."""


@dataclass(frozen=True, slots=True)
class _Said:
    """An entry of the pool in one form: the keys between a post's id and its author. `original` is the post that it
    reposts or quotes and `owner` the author of that post; 0 if there is none."""

    template: bytes
    is_reply: bool = False
    is_repost: bool = False
    original: int = 0
    owner: int = 0


class Pen:
    """Writes everything that is seeded. `mentioned` are ids of accounts that posts may mention; of these, the ones for
    which `shown` is not None may be reposted."""

    def __init__(self, seed: int, mentioned: Sequence[int], shown: Shown = lambda user: None) -> None:
        self._seed = seed
        self._mentioned = mentioned
        self._shown = shown
        self.author = lru_cache(maxsize=_AUTHORS_KEPT)(self._author)
        self._body = lru_cache(maxsize=None)(self._write_body)
        self._pool = lru_cache(maxsize=None)(self._fill_pool)
        self._original = lru_cache(maxsize=None)(self._find_original)

    def _author(self, user: int) -> Author:
        return authors.author(self._seed, user)

    def profile(self, user: int, state: AccountState, followers: int, friends: int) -> bytes:
        """The profile of an account with these counts."""
        return profiles.profile(self.author(user), state, followers, friends)

    def posts(self, author: Author, start: int, stop: int, style: Style, profile: bytes) -> list[bytes]:
        """The author's posts from position `start` up to `stop`."""
        pool = self._pool(author.language, style.extended, style.trim_user)
        tail = b',"user":%b}' % _user(author.id, profile, style)
        written = []
        for position in range(start, stop):
            post = author.post_id(position)
            said, plain = pool[_place(post)]
            if said.original >= post or said.owner == author.id:
                said = plain
            if (said.is_repost and not style.reposts) or (said.is_reply and not style.replies):
                continue
            written.append(_head(author, position, post) + _filled(said.template, post) + tail)
        return written

    def _write_body(self, language: str, place: int) -> Body:
        return bodies.body(digest64("body", self._seed, language, place), language, self._mentioned)

    def _fill_pool(self, language: str, extended: bool, trim_user: bool) -> list[tuple[_Said, _Said]]:
        """Each entry of the pool, and the ordinary text that replaces it in older posts."""
        style = Style(extended, trim_user)
        pool = []
        for place in range(_BODIES_PER_LANGUAGE):
            own = self._body(language, place)
            plain = _Said(own.template(extended=extended), own.is_reply)
            pool.append((self._echo(language, place, style) or plain, plain))
        return pool

    def _echo(self, language: str, place: int, style: Style) -> _Said | None:
        """The repost or quote of an entry; None when it is neither, or there is nothing to repost."""
        found = self._original(language, place) if place in _REPOSTS or place in _QUOTES else None
        if found is None:
            return None
        author, position, profile = found
        post = author.post_id(position)
        original = self._body(author.language, _place(post))
        nested = _head(author, position, post) + _filled(original.template(extended=style.extended), post)
        nested = (nested + b',"user":%b}' % _user(author.id, profile, style)).replace(b"%", b"%%")
        own = self._body(language, place)
        if place in _REPOSTS:
            repost = _repost(author, original.filled(_own(post).decode()), own)
            template = repost.template(extended=style.extended) + b',"retweeted_status":' + nested
            return _Said(template, is_repost=True, original=post, owner=author.id)
        quote = _quote(author, post, own)
        template = quote.template(extended=style.extended) + b',"quoted_status":' + nested
        return _Said(template, own.is_reply, original=post, owner=author.id)

    def _find_original(self, language: str, place: int) -> tuple[Author, int, bytes] | None:
        """A public post that is neither a repost nor a quote: its author, its position in the timeline, and the
        author's profile."""
        key = digest64("original", self._seed, language, place)
        for number in range(_TRIES if self._mentioned else 0):
            user = self._mentioned[mix(key + number) % len(self._mentioned)]
            shown = self._shown(user)
            if shown is None or not shown[1]:
                continue
            profile, posts = shown
            author = self.author(user)
            # The older a post is, the more posts can repost it.
            position = max(mix(key + 100 + number) % posts, mix(key + 200 + number) % posts)
            for older in range(position, min(posts, position + _TRIES)):
                if _place(author.post_id(older)) >= _QUOTES.stop:
                    return author, older, profile
        return None


def _place(post: int) -> int:
    """The index of the pool entry from which a post takes its text."""
    return post % 1_000_003 % _BODIES_PER_LANGUAGE


def _own(post: int) -> bytes:
    return b"%014x" % (post & _OWN_MASK)


def _user(user: int, profile: bytes, style: Style) -> bytes:
    return b'{"id":%d,"id_str":"%d"}' % (user, user) if style.trim_user else profile


def _head(author: Author, position: int, post: int) -> bytes:
    return b'{"created_at":"%b","id":%d,"id_str":"%d",' % (v1_time(author.post_ms(position) // 1000), post, post)


def _filled(template: bytes, post: int) -> bytes:
    if b"%(code)" not in template:  # the usual case: the text was not truncated
        return template % {b"own": _own(post)}
    identifier = b"%d" % post
    return template % {
        b"own": _own(post),
        b"code": code_of(post).encode(),
        b"id": identifier,
        b"digit": identifier[:1],
    }


def _repost(author: Author, original: Body, own: Body) -> Body:
    name = screen_name(author.id)
    whose = {"screen_name": name, "name": name, "id": author.id, "id_str": str(author.id)}
    text, entities = reposted(whose, original.text, original.entities)
    facts: dict[str, Any] = {
        "source": own.facts["source"],
        "is_quote_status": False,
        "retweet_count": original.facts["retweet_count"],
        "favorite_count": 0,
        "favorited": False,
        "retweeted": False,
        "lang": original.facts["lang"],
    }
    return Body(text, entities, facts)


def _quote(author: Author, post: int, own: Body) -> Body:
    address = f"twitter.com/{screen_name(author.id)}/status/"
    link = {
        "url": f"https://t.co/{code_of(post)}",
        "expanded_url": f"https://{address}{post}",
        "display_url": f"{address}{str(post)[0]}…",
    }
    named = {"url": link["url"], "expanded": link["expanded_url"], "display": link["display_url"]}
    facts = {
        "is_quote_status": True,
        "quoted_status_id": post,
        "quoted_status_id_str": str(post),
        "quoted_status_permalink": named,
    }
    return own.quoting(link, facts)
