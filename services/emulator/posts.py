"""Writes profiles and posts in the shape of the v1.1 API, each a pure function of (seed, account, position).

Posts are byte templates that are filled in, never objects that are serialised: a page of 200 costs well below a
millisecond and nothing is kept. Text and entities come from a small pool of bodies per language; what makes a post its
own is its id, its time and the last word of its text. A key without content is absent, not null and not empty.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import exp
from statistics import NormalDist

from services.emulator import words
from services.emulator.hashing import GOLDEN, MASK64, digest64, mix
from services.emulator.world import State, Style

SNOWFLAKE_EPOCH_MS = 1_288_834_974_657
"""Post ids are (milliseconds since this instant) · 2^22 + 22 bits of machine and sequence."""
NEWEST_MS = 1_672_531_200_000
"""No seeded account wrote after 2023-01-01: worlds are static."""
OLDEST_MS = 1_293_840_000_000
"""No visible post is older than 2011-01-01, when ids had become snowflakes."""
FIRST_ACCOUNT_MS = 1_143_000_000_000
MEDIAN_POSTS = 60
_SPREAD = 1.6
_MOST_POSTS = 40_000
_BODIES_PER_LANGUAGE = 160
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NORMAL = NormalDist()


def base36(number: int) -> str:
    """A number of 0 or more in lower-case base 36."""
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text


def screen_name(user: int) -> str:
    """The name of an account, at most 15 characters; `user_of` reads the id out of it again."""
    tail = "_" + base36(user)
    first = words.FIRST_NAMES[mix(user) % len(words.FIRST_NAMES)]
    plain = first.encode("ascii", "ignore").decode()
    return plain[: 15 - len(tail)] + tail


def user_of(name: str) -> int | None:
    """The id of the account that has this screen name, in any case of letters, or None."""
    tail = name.rpartition("_")[2]
    if not (0 < len(tail) < 14 and tail.isascii() and tail.isalnum()):
        return None
    user = int(tail, 36)
    return user if screen_name(user).lower() == name.lower() else None


def dumps(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def v1_time(ms: int) -> str:
    """A time as the v1.1 API writes it: `Wed Aug 27 13:08:45 +0000 2008`."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%a %b %d %H:%M:%S +0000 %Y")


@lru_cache(maxsize=8192)
def _day(day: int) -> tuple[bytes, bytes]:
    moment = time.gmtime(day * 86_400)
    return time.strftime("%a %b %d", moment).encode(), time.strftime("%Y", moment).encode()


@dataclass(frozen=True, slots=True)
class Author:
    """What an account's seed says of it. `statuses` may exceed the 3,200 that are visible; times are in ms."""

    id: int
    key: int
    language: str
    statuses: int
    created_ms: int
    newest_ms: int
    gap_ms: int

    def post_id(self, position: int) -> int:
        """The id of the post at a position; falls as the position rises."""
        return self.post_ms(position) - SNOWFLAKE_EPOCH_MS << 22 | mix(self.key ^ position) & 0x3FFFFF

    def post_ms(self, position: int) -> int:
        """When the post at a position was written."""
        return self.newest_ms - position * self.gap_ms - mix(self.key + position * GOLDEN & MASK64) % self.gap_ms

    def locate(self, post: int, visible: int) -> int:
        """The first of `visible` positions whose post has an id of at most `post`, else `visible`."""
        written_ms = (post >> 22) + SNOWFLAKE_EPOCH_MS
        position = min(visible, max(0, (self.newest_ms - written_ms) // self.gap_ms - 2))
        while position < visible and self.post_id(position) > post:
            position += 1
        return position


@dataclass(frozen=True, slots=True)
class _Body:
    text: bytes
    length: int
    rest: bytes


class Pen:
    """Writes everything that is seeded. `mentioned` are ids of accounts that posts may speak of."""

    def __init__(self, seed: int, mentioned: Sequence[int]) -> None:
        self._seed = seed
        self._bodies = {language: self._body_pool(language, mentioned) for language in words.LANGUAGES}
        self.author = lru_cache(maxsize=4096)(self._author)

    def _author(self, user: int) -> Author:
        key = digest64("author", self._seed, user)
        draw = mix(key) % 100
        language = next(name for name, bound in words.LANGUAGE_SHARES if draw < bound)
        created_ms = FIRST_ACCOUNT_MS + mix(key + 1) % (NEWEST_MS - 90 * 86_400_000 - FIRST_ACCOUNT_MS)
        if user >= 1 << 40:
            created_ms = min((user >> 22) + SNOWFLAKE_EPOCH_MS, NEWEST_MS - 86_400_000)
        statuses = 0
        if mix(key + 2) % 100 >= 3:
            drawn = _NORMAL.inv_cdf((mix(key + 3) + 1) / (MASK64 + 3))
            statuses = min(_MOST_POSTS, round(MEDIAN_POSTS * exp(_SPREAD * drawn)))
        began_ms = max(created_ms, OLDEST_MS)
        newest_ms = NEWEST_MS - mix(key + 4) % ((NEWEST_MS - began_ms) // 4)
        gap_ms = max(1, (newest_ms - began_ms) // max(statuses, 1))
        return Author(user, key, language, statuses, created_ms, newest_ms, gap_ms)

    def profile(self, user: int, state: State, followers: int, friends: int) -> bytes:
        """The profile of an account with these counts."""
        author = self.author(user)
        key = author.key
        vocabulary = words.LANGUAGES[author.language]
        name = screen_name(user)
        facts: dict[str, object] = {
            "id": user,
            "id_str": str(user),
            "name": f"{words.FIRST_NAMES[mix(user) % len(words.FIRST_NAMES)]} "
            f"{words.LAST_NAMES[mix(key + 5) % len(words.LAST_NAMES)]}",
            "screen_name": name,
        }
        if mix(key + 6) % 10 < 7:
            facts["location"] = words.PLACES[mix(key + 7) % len(words.PLACES)]
        if mix(key + 8) % 10 < 8:
            facts["description"] = " ".join(vocabulary[mix(key + 20 + n) % len(vocabulary)] for n in range(12))
        if mix(key + 9) % 10 < 4:
            code = base36(mix(key + 10))[:10]
            facts["url"] = f"https://t.co/{code}"
            facts["entities"] = {
                "url": {
                    "urls": [
                        {
                            "url": facts["url"],
                            "expanded_url": f"http://{name.lower()}.example.org/",
                            "display_url": f"{name.lower()}.example.org",
                            "indices": [0, 13 + len(code)],
                        }
                    ]
                }
            }
        picture = f"profile_images/{mix(key + 11)}/{base36(mix(key + 12))[:8]}_normal.jpeg"
        facts |= {
            "protected": state is State.PROTECTED,
            "followers_count": followers,
            "friends_count": friends,
            "listed_count": followers // 40,
            "created_at": v1_time(author.created_ms),
            "favourites_count": mix(key + 13) % 5000,
            "geo_enabled": mix(key + 14) % 3 == 0,
            "verified": followers > 10_000,
            "statuses_count": author.statuses,
            "lang": author.language,
            "contributors_enabled": False,
            "is_translator": False,
            "is_translation_enabled": False,
            "profile_background_color": f"{mix(key + 15) % 0xFFFFFF:06X}",
            "profile_background_image_url": "http://abs.twimg.com/images/themes/theme1/bg.png",
            "profile_background_image_url_https": "https://abs.twimg.com/images/themes/theme1/bg.png",
            "profile_background_tile": False,
            "profile_image_url": f"http://pbs.twimg.com/{picture}",
            "profile_image_url_https": f"https://pbs.twimg.com/{picture}",
            "profile_link_color": f"{mix(key + 16) % 0xFFFFFF:06X}",
            "profile_sidebar_border_color": f"{mix(key + 18) % 0xFFFFFF:06X}",
            "profile_sidebar_fill_color": "DDEEF6",
            "profile_text_color": "333333",
            "profile_use_background_image": True,
            "has_extended_profile": False,
            "default_profile": mix(key + 17) % 2 == 0,
            "default_profile_image": False,
            "translator_type": "none",
        }
        return dumps(facts)

    def posts(self, author: Author, start: int, stop: int, style: Style, profile: bytes) -> list[bytes]:
        """The author's posts from position `start` up to `stop`."""
        bodies = self._bodies[author.language]
        number = len(bodies)
        tail = b',"user":' + (b'{"id":%d,"id_str":"%d"}' % (author.id, author.id) if style.trim_user else profile)
        tail += b"}"
        text_key = b"full_text" if style.extended else b"text"
        written = []
        for position in range(start, stop):
            post = author.post_id(position)
            second = author.post_ms(position) // 1000
            day, of_day = divmod(second, 86_400)
            date, year = _day(day)
            body = bodies[post % 1_000_003 % number]
            span = b'"display_text_range":[0,%d],' % (body.length + 15) if style.extended else b""
            written.append(
                b'{"created_at":"%b %02d:%02d:%02d +0000 %b","id":%d,"id_str":"%d",%b"%b":"%b %014x"%b%b'
                % (
                    date,
                    of_day // 3600,
                    of_day // 60 % 60,
                    of_day % 60,
                    year,
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

    def _body_pool(self, language: str, mentioned: Sequence[int]) -> list[_Body]:
        return [
            _body(digest64("body", self._seed, language, n), language, mentioned) for n in range(_BODIES_PER_LANGUAGE)
        ]


def _body(key: int, language: str, mentioned: Sequence[int]) -> _Body:
    """One text with its entities, whose indices count code points as the service's do."""
    vocabulary = words.LANGUAGES[language]

    def sentence(salt: int, most: int) -> str:
        count = 2 + mix(key + salt) % most
        return " ".join(vocabulary[mix(key + salt + 1 + n) % len(vocabulary)] for n in range(count)) + " "

    entities: dict[str, list[dict[str, object]]] = {}
    facts: dict[str, object] = {}
    text = ""
    spoken_to = mentioned[mix(key + 900) % len(mentioned)] if mentioned and mix(key + 901) % 10 < 6 else None
    is_reply = spoken_to is not None and mix(key + 902) % 2 == 0
    if spoken_to is not None:
        name = screen_name(spoken_to)
        text += "" if is_reply else sentence(100, 4)
        entities["user_mentions"] = [
            {
                "screen_name": name,
                "name": name,
                "id": spoken_to,
                "id_str": str(spoken_to),
                "indices": [len(text), len(text) + len(name) + 1],
            }
        ]
        text += f"@{name} "
        if is_reply:
            facts |= {
                "in_reply_to_user_id": spoken_to,
                "in_reply_to_user_id_str": str(spoken_to),
                "in_reply_to_screen_name": name,
            }
    text += sentence(200, 9)
    has_url = mix(key + 904) % 10 < 5
    for n in range(max(mix(key + 903) % 3, 0 if entities or has_url else 1)):
        tag = words.TAGS[mix(key + 910 + n) % len(words.TAGS)]
        entities.setdefault("hashtags", []).append({"text": tag, "indices": [len(text), len(text) + len(tag) + 1]})
        text += f"#{tag} "
    if has_url:
        url = f"https://t.co/{base36(mix(key + 905))[:10]}"
        path = f"example.org/{base36(mix(key + 906))}/{base36(mix(key + 907))}"
        entities["urls"] = [
            {
                "url": url,
                "expanded_url": f"https://www.{path}",
                "display_url": f"{path[:26]}…",
                "indices": [len(text), len(text) + len(url)],
            }
        ]
        text += f"{url} "
    text += sentence(300, 5)
    text = text.rstrip()
    href, app = words.SOURCES[mix(key + 908) % len(words.SOURCES)]
    facts |= {"truncated": False, "entities": entities, "source": f'<a href="{href}" rel="nofollow">{app}</a>'}
    if mix(key + 909) % 12 == 0:
        point = [round(mix(key + 920) % 1_700_000 / 1e4 - 85, 4), round(mix(key + 921) % 3_600_000 / 1e4 - 180, 4)]
        facts |= {
            "geo": {"type": "Point", "coordinates": point},
            "coordinates": {"type": "Point", "coordinates": point[::-1]},
        }
    facts |= {
        "is_quote_status": False,
        "retweet_count": mix(key + 922) % 40,
        "favorite_count": mix(key + 923) % 90,
        "favorited": False,
        "retweeted": False,
        "possibly_sensitive": False,
        "lang": language,
    }
    return _Body(dumps(text)[1:-1], len(text), b"," + dumps(facts)[1:-1])
