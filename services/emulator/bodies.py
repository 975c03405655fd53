"""The bodies of posts: texts with their entities, a small pool per language, written once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.emulator import words
from services.emulator.authors import screen_name
from services.emulator.encoding import base36, dumps
from services.emulator.hashing import mix


@dataclass(frozen=True, slots=True)
class Body:
    """What posts share: a text, its length in code points, and the keys that follow the text, as JSON."""

    text: bytes
    length: int
    rest: bytes


def body(key: int, language: str, mentioned: Sequence[int]) -> Body:
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
    return Body(dumps(text)[1:-1], len(text), b"," + dumps(facts)[1:-1])
