"""Writes the profiles of seeded accounts by filling in a byte template, in a few microseconds."""

from __future__ import annotations

from services.emulator.worlds import words
from services.emulator.worlds.authors import Author, screen_name
from services.emulator.worlds.encoding import base36, dumps, v1_time
from services.emulator.worlds.hashing import mix
from services.emulator.worlds.world import AccountState

_DESCRIPTIONS_PER_LANGUAGE = 256
_DESCRIPTION_WORDS = 12
_VERIFIED_FOLLOWERS = 10_000
_FIRST = [dumps(name)[1:-1] for name in words.FIRST_NAMES]
_LAST = [dumps(name)[1:-1] for name in words.LAST_NAMES]
_LOCATIONS = [b',"location":' + dumps(place) for place in words.PLACES]
_LINK = (
    b',"url":"https://t.co/%b","entities":{"url":{"urls":[{"url":"https://t.co/%b",'
    b'"expanded_url":"http://%b.example.org/","display_url":"%b.example.org","indices":[0,%d]}]}}'
)
_PROFILE = (
    b'{"id":%d,"id_str":"%d","name":"%b %b","screen_name":"%b"%b%b%b,"protected":%b,"followers_count":%d,'
    b'"friends_count":%d,"listed_count":%d,"created_at":"%b","favourites_count":%d,"geo_enabled":%b,"verified":%b,'
    b'"statuses_count":%d,"lang":"%b","contributors_enabled":false,"is_translator":false,'
    b'"is_translation_enabled":false,"profile_background_color":"%06X",'
    b'"profile_background_image_url":"http://abs.twimg.com/images/themes/theme1/bg.png",'
    b'"profile_background_image_url_https":"https://abs.twimg.com/images/themes/theme1/bg.png",'
    b'"profile_background_tile":false,"profile_image_url":"http://pbs.twimg.com/profile_images/%b_normal.jpeg",'
    b'"profile_image_url_https":"https://pbs.twimg.com/profile_images/%b_normal.jpeg","profile_link_color":"%06X",'
    b'"profile_sidebar_border_color":"%06X","profile_sidebar_fill_color":"DDEEF6","profile_text_color":"333333",'
    b'"profile_use_background_image":true,"has_extended_profile":false,"default_profile":%b,'
    b'"default_profile_image":false,"translator_type":"none"}'
)


def _descriptions(language: str) -> list[bytes]:
    vocabulary = words.LANGUAGES[language]
    texts = []
    for number in range(_DESCRIPTIONS_PER_LANGUAGE):
        chosen = (vocabulary[mix(number * 64 + n) % len(vocabulary)] for n in range(_DESCRIPTION_WORDS))
        texts.append(b',"description":' + dumps(" ".join(chosen)))
    return texts


_DESCRIPTIONS = {language: _descriptions(language) for language in words.LANGUAGES}


def _truth(value: bool) -> bytes:
    return b"true" if value else b"false"


def profile(author: Author, state: AccountState, followers: int, friends: int) -> bytes:
    """The profile of an account with these counts, one JSON object. Keys without content are absent."""
    user, key = author.id, author.key
    name = screen_name(user).encode()
    some, more, colours = mix(key + 5), mix(key + 6), mix(key + 7)
    location = _LOCATIONS[(some >> 8) % len(_LOCATIONS)] if some % 10 < 7 else b""
    descriptions = _DESCRIPTIONS[author.language]
    description = descriptions[(some >> 24) % len(descriptions)] if (some >> 16) % 10 < 8 else b""
    link = b""
    if (some >> 40) % 10 < 4:
        code, host = base36(mix(key + 8))[:10].encode(), name.lower()
        link = _LINK % (code, code, host, host, 13 + len(code))
    picture = b"%d/%010x" % (more, colours >> 24)
    return _PROFILE % (
        user,
        user,
        _FIRST[mix(user) % len(_FIRST)],
        _LAST[(more >> 8) % len(_LAST)],
        name,
        location,
        description,
        link,
        _truth(state is AccountState.PROTECTED),
        followers,
        friends,
        followers // 40,
        v1_time(author.created_ms // 1000),
        (more >> 16) % 5000,
        _truth((more >> 32) % 3 == 0),
        _truth(followers > _VERIFIED_FOLLOWERS),
        author.statuses,
        author.language.encode(),
        colours & 0xFFFFFF,
        picture,
        picture,
        colours >> 12 & 0xFFFFFF,
        colours >> 36 & 0xFFFFFF,
        _truth((more >> 48) % 2 == 0),
    )
