"""The bodies of posts: texts with their entities, a small pool per language, written once in both forms.

A body is independent of its post. Values of the post are represented by placeholders: private-use Unicode characters,
one per character of the value, so that lengths and indices are correct; `template` turns them into fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from services.emulator.worlds import words
from services.emulator.worlds.authors import screen_name
from services.emulator.worlds.encoding import base36, dumps
from services.emulator.worlds.hashing import mix
from services.emulator.worlds.shortening import (
    MAX_COMPATIBLE_LENGTH,
    MAX_COUNTED_LENGTH,
    Entities,
    counted,
    permalink,
    shortened,
)

OWN_LENGTH: Final = 14
"""Characters of the last word of a text, which makes the text unique to its post."""

_OWN, _CODE, _ID, _DIGIT = "\ue000", "\ue001", "\ue002", "\ue003"
_FIELDS: Final = re.compile(f"{_OWN}+|{_CODE}+|{_ID}|{_DIGIT}")
_NAMES: Final = {_OWN: "own", _CODE: "code", _ID: "id", _DIGIT: "digit"}
_LINK: Final = permalink(_CODE * 10, _ID, _DIGIT)

_LONG_SHARE: Final = 5
"""One body in this many is longer than 140 as the service counts."""
_MIN_LONG_LENGTH: Final = 165
"""A long body has at least this length, minus at most its last word (less than 20)."""


@dataclass(frozen=True, slots=True)
class Body:
    """A text, its entities and its other keys, as the service's objects. `shown` is the index of the first displayed
    character (after the mention in a reply), and how many at the end are hidden (the link to a quoted post)."""

    text: str
    entities: Entities
    facts: Mapping[str, Any]
    shown: tuple[int, int] = (0, 0)

    @property
    def is_reply(self) -> bool:
        """Whether it is a reply."""
        return "in_reply_to_user_id" in self.facts

    def filled(self, own: str) -> Body:
        """The body of a post whose last word is `own`."""
        return replace(self, text=self.text.replace(_OWN * OWN_LENGTH, own))

    def quoting(self, link: dict[str, Any], facts: Mapping[str, Any]) -> Body:
        """The same body with a link to another post appended, and the keys that describe that post."""
        start = len(self.text) + 1
        entry = {**link, "indices": [start, start + len(link["url"])]}
        entities = {**self.entities, "urls": [*self.entities.get("urls", []), entry]}
        shown = self.shown[0], len(link["url"]) + 1
        return Body(f"{self.text} {link['url']}", entities, {**self.facts, **facts}, shown)

    def template(self, *, extended: bool) -> bytes:
        """The keys from the text on, without the braces, with `%(own)b`, `%(code)b`, `%(id)b` and `%(digit)b` for the
        values of the post."""
        span: dict[str, Any] = {}
        key, text, entities, truncated = "text", self.text, self.entities, False
        if extended:
            key, span = "full_text", {"display_text_range": [self.shown[0], len(text) - self.shown[1]]}
        elif len(text) > MAX_COMPATIBLE_LENGTH:
            (text, entities), truncated = shortened(text, entities, _LINK), True
        said = {**span, key: text, "truncated": truncated, "entities": entities, **self.facts}
        return _FIELDS.sub(_field, dumps(said)[1:-1].decode().replace("%", "%%")).encode()


def _field(found: re.Match[str]) -> str:
    run = found[0]
    name = _NAMES[run[0]]
    # A text may be truncated within its last word.
    return f"%({name}).{len(run)}b" if name == "own" else f"%({name})b"


def body(key: int, language: str, mentioned: Sequence[int]) -> Body:
    """One text with its entities, whose indices count code points as the service's do."""
    vocabulary = words.LANGUAGES[language]

    def word(salt: int) -> str:
        return vocabulary[mix(key + salt) % len(vocabulary)]

    def sentence(salt: int, most: int) -> str:
        return " ".join(word(salt + 1 + n) for n in range(2 + mix(key + salt) % most)) + " "

    entities: dict[str, list[dict[str, Any]]] = {}
    facts: dict[str, Any] = {}
    text = ""

    def tag(number: int) -> None:
        nonlocal text
        name = words.TAGS[mix(key + 910 + number) % len(words.TAGS)]
        entities.setdefault("hashtags", []).append({"text": name, "indices": [len(text), len(text) + len(name) + 1]})
        text += f"#{name} "

    shown_from = 0
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
            shown_from = len(text)
            facts |= {
                "in_reply_to_user_id": spoken_to,
                "in_reply_to_user_id_str": str(spoken_to),
                "in_reply_to_screen_name": name,
            }
    text += sentence(200, 9)
    has_url = mix(key + 904) % 10 < 5
    for n in range(max(mix(key + 903) % 3, 0 if entities or has_url else 1)):
        tag(n)
    if has_url:
        url = f"https://t.co/{base36(mix(key + 905)).zfill(10)[:10]}"
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
    is_long = mix(key + 930) % _LONG_SHARE == 0
    # The last tag of a long text is beyond the end of the compatible form.
    longest = _MIN_LONG_LENGTH + mix(key + 931) % 80 if is_long else MAX_COUNTED_LENGTH - OWN_LENGTH
    for n in range(1000 if is_long else 2 + mix(key + 300) % 5):
        more = f"{word(301 + n * 7919)} " if is_long else f"{word(301 + n)} "
        if counted(text + more) - shown_from > longest:
            break
        text += more
    if is_long:
        tag(3)
    href, app = words.SOURCES[mix(key + 908) % len(words.SOURCES)]
    facts["source"] = f'<a href="{href}" rel="nofollow">{app}</a>'
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
    return Body(text + _OWN * OWN_LENGTH, entities, facts, (shown_from, 0))
