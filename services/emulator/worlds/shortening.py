"""How the service truncated the texts of longer posts to 140 characters, for clients that support no longer ones.

| form | the text |
|---|---|
| extended (`tweet_mode=extended`) | whole, as `full_text` |
| compatible (the default) | as `text`: whole up to 140 characters, else its beginning, `… ` and a link to the post |
| a repost, in both | `RT @name: ` and the reposted text, cut at 140 characters with `…`; `truncated` stays false |

Characters are code points here, as in the service's indices. The length limit for writing is counted differently: see
`counted`. (Twitter's "Upcoming changes to Tweets" of 2016, and the rules of its twitter-text library.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_COMPATIBLE_LENGTH: Final = 140
"""Code points of a text in the compatible form."""

MAX_COUNTED_LENGTH: Final = 280
"""The maximum length of a post, as the service counts."""

LINK_LENGTH: Final = 23
"""Characters of every shortened link."""

Entities = Mapping[str, list[dict[str, Any]]]

_LIGHT: Final = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))
"""Code points that count once; all others count twice."""
_JOINED: Final = re.compile("\u200d.")
_ELLIPSIS: Final = "…"


def counted(text: str) -> int:
    """The length of a text by the service's limit: wide characters count twice, a joined emoji as one."""
    return sum(1 if any(low <= ord(one) <= high for low, high in _LIGHT) else 2 for one in _JOINED.sub("", text))


def permalink(code: str, post: str, digit: str) -> dict[str, Any]:
    """The link that replaces the rest of a text: its short form and its target."""
    place = "twitter.com/i/web/status/"
    return {
        "url": f"https://t.co/{code}",
        "expanded_url": f"https://{place}{post}",
        "display_url": f"{place}{digit}{_ELLIPSIS}",
    }


def shortened(text: str, entities: Entities, link: dict[str, Any]) -> tuple[str, Entities]:
    """A text of more than `MAX_COMPATIBLE_LENGTH` characters in the compatible form, with the entities that are
    entirely within it."""
    kept = text[: MAX_COMPATIBLE_LENGTH - LINK_LENGTH - 2].rstrip()
    start = len(kept) + 2
    within = _up_to(len(kept), entities)
    within["urls"] = [*within.get("urls", []), {**link, "indices": [start, start + LINK_LENGTH]}]
    return f"{kept}{_ELLIPSIS} {link['url']}", within


def reposted(author: Mapping[str, Any], text: str, entities: Entities) -> tuple[str, Entities]:
    """The text of a repost of a full text, with its entities; the first mention is the original's author."""
    name = str(author["screen_name"])
    begin = f"RT @{name}: "
    whole = begin + text
    shown = whole if len(whole) <= MAX_COMPATIBLE_LENGTH else whole[: MAX_COMPATIBLE_LENGTH - 1] + _ELLIPSIS
    moved = {
        kind: [{**item, "indices": [at + len(begin) for at in item["indices"]]} for item in items]
        for kind, items in entities.items()
    }
    within = _up_to(len(shown) if shown == whole else MAX_COMPATIBLE_LENGTH - 1, moved)
    mention = {"screen_name": name, "name": str(author["name"]), "id": author["id"], "id_str": author["id_str"]}
    mention["indices"] = [3, 4 + len(name)]
    within["user_mentions"] = [mention, *within.get("user_mentions", [])]
    return shown, within


def code_of(post: int) -> str:
    """The ten characters of a post's own short link."""
    return f"{post * 0x9E3779B97F4A7C15 >> 20 & 0xFFFFFFFFFF:010x}"


def _up_to(end: int, entities: Entities) -> dict[str, list[dict[str, Any]]]:
    kept = {kind: [item for item in items if item["indices"][1] <= end] for kind, items in entities.items()}
    return {kind: items for kind, items in kept.items() if items}
