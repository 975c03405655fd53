"""Converts a stored post to the requested form. A post that already has the form is returned byte for byte."""

from __future__ import annotations

import json
from typing import Any, Final

from protocol.numbers import whole_number
from services.emulator.worlds.encoding import dumps
from services.emulator.worlds.shortening import MAX_COMPATIBLE_LENGTH, code_of, permalink, shortened
from services.emulator.worlds.world import Style

_NESTED: Final = ("retweeted_status", "quoted_status")


def in_style(line: bytes, style: Style) -> bytes | None:
    """The line of a post in the requested style; None when the style excludes the post."""
    post: dict[str, Any] = json.loads(line)
    if not style.reposts and "retweeted_status" in post:
        return None
    if not style.replies and post.get("in_reply_to_user_id") is not None:
        return None
    return dumps(post) if _changed(post, style) else line


def _changed(post: dict[str, Any], style: Style) -> bool:
    """Convert a post, and the posts nested in it, to the form; returns whether anything changed."""
    changed = _whole(post) if style.extended else _compatible(post)
    user = post.get("user")
    if style.trim_user and isinstance(user, dict) and not user.keys() <= {"id", "id_str"}:
        post["user"] = {key: user[key] for key in ("id", "id_str") if key in user}
        changed = True
    for key in _NESTED:
        if isinstance(post.get(key), dict):
            changed = _changed(post[key], style) or changed
    return changed


def _whole(post: dict[str, Any]) -> bool:
    """To the extended form. A text that was stored only truncated is left unchanged: the rest is unknown."""
    more = post.get("extended_tweet")
    text = post.get("text")
    if "full_text" in post:
        return post.pop("text", None) is not None
    if isinstance(more, dict) and isinstance(more.get("full_text"), str):
        del post["extended_tweet"]
        post.pop("text", None)
        post |= {**more, "truncated": False}
        return True
    if not isinstance(text, str) or post.get("truncated"):
        return False
    del post["text"]
    post |= {"full_text": text, "display_text_range": [0, len(text)]}
    return True


def _compatible(post: dict[str, Any]) -> bool:
    """To the compatible form. A post without a numeric id is not truncated: no link to the rest can be formed."""
    text = post.get("full_text")
    if not isinstance(text, str):
        return False
    for key in ("full_text", "display_text_range"):
        post.pop(key, None)
    post["text"] = text
    number = str(post.get("id_str") or post.get("id"))
    identifier = whole_number(number, 10**19 - 1)
    if len(text) > MAX_COMPATIBLE_LENGTH and "retweeted_status" not in post and identifier is not None:
        link = permalink(code_of(identifier), number, number[:1])
        post["text"], post["entities"] = shortened(text, _entities(post), link)
        post["truncated"] = True
    return True


def _entities(post: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The entities of a stored post that have valid indices."""
    found = post.get("entities")
    kinds = found.items() if isinstance(found, dict) else ()
    return {
        kind: [item for item in items if isinstance(item, dict) and _is_span(item.get("indices"))]
        for kind, items in kinds
        if isinstance(items, list)
    }


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(at, int) for at in value)
