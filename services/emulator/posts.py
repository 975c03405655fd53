"""Writes profiles and posts in the shape of the v1.1 API, each a pure function of (seed, account, position).

Posts are byte templates that are filled in, never objects that are serialised: a page of 200 costs well below a
millisecond and nothing is kept. Text and entities come from a small pool of bodies per language; what makes a post its
own is its id, its time and the last word of its text. A key without content is absent, not null and not empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from services.emulator import authors, bodies, profiles, words
from services.emulator.authors import Author
from services.emulator.encoding import v1_time
from services.emulator.hashing import digest64
from services.emulator.world import State, Style

_BODIES_PER_LANGUAGE = 160
_AUTHORS_KEPT = 4096
_WORD_LENGTH = 15
"""A blank and 14 digits: the last word of a text, which makes it the post's own."""


class Pen:
    """Writes everything that is seeded. `mentioned` are ids of accounts that posts may speak of."""

    def __init__(self, seed: int, mentioned: Sequence[int]) -> None:
        self._seed = seed
        self._bodies = {
            language: [
                bodies.body(digest64("body", seed, language, number), language, mentioned)
                for number in range(_BODIES_PER_LANGUAGE)
            ]
            for language in words.LANGUAGES
        }
        self.author = lru_cache(maxsize=_AUTHORS_KEPT)(self._author)

    def _author(self, user: int) -> Author:
        return authors.author(self._seed, user)

    def profile(self, user: int, state: State, followers: int, friends: int) -> bytes:
        """The profile of an account with these counts."""
        return profiles.profile(self.author(user), state, followers, friends)

    def posts(self, author: Author, start: int, stop: int, style: Style, profile: bytes) -> list[bytes]:
        """The author's posts from position `start` up to `stop`."""
        pool = self._bodies[author.language]
        tail = b',"user":' + (b'{"id":%d,"id_str":"%d"}' % (author.id, author.id) if style.trim_user else profile)
        tail += b"}"
        text_key = b"full_text" if style.extended else b"text"
        written = []
        for position in range(start, stop):
            post = author.post_id(position)
            body = pool[post % 1_000_003 % len(pool)]
            span = b'"display_text_range":[0,%d],' % (body.length + _WORD_LENGTH) if style.extended else b""
            written.append(
                b'{"created_at":"%b","id":%d,"id_str":"%d",%b"%b":"%b %014x"%b%b'
                % (
                    v1_time(author.post_ms(position) // 1000),
                    post,
                    post,
                    span,
                    text_key,
                    body.text,
                    post & 0xFFFFFFFFFFFFFF,
                    body.rest,
                    tail,
                )
            )
        return written
