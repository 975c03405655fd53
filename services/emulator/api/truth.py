"""`/_truth/…`: the content of the world and the requests to it, for tests. Without limits and faults; not counted."""

from __future__ import annotations

import json
from typing import Any

from protocol.numbers import whole_number
from services.emulator.api.calls import Service
from services.emulator.api.http_messages import ApiAnswer, Request
from services.emulator.worlds.encoding import dumps
from services.emulator.worlds.world import Account, Style

PREFIX = "/_truth"
_MAX_IDS = 1_000_000
_ROUTES = {
    "GET /_truth/world": "the world in a few figures",
    "GET /_truth/ids?start=0&count=1000": "ids of all accounts, rising; at most a million at a time",
    "GET /_truth/account/ID": "state, post ids, followers and friends of one account, whole and newest first",
    "GET /_truth/posts/ID": "the texts and hashtags of an account's posts as they were written, newest first",
    "GET /_truth/requests": "what was asked: totals, by path and status, by path and caller, 429s",
    "GET /_truth/identities?at_least=2": "requests answered in full at least so often; 0 gives all",
    "POST /_truth/reset": "as after the start: counts, windows and faults from the beginning",
    "POST /_truth/withhold?newest=5": "hide the newest posts of every account; 0 shows them again",
}
PAGE = (
    "<!doctype html><meta charset=utf-8><title>tmatic-emulator</title><h1>tmatic-emulator</h1>"
    "<p>An emulated social network: <code>/1.1/…</code> and <code>/1/…</code> as the real API. For tests:</p><ul>"
    + "".join(f"<li><code>{route}</code>: {what}</li>" for route, what in _ROUTES.items())
    + "</ul>"
).encode()


class TruthCalls:
    """Answers requests outside the emulated service: the front page and `/_truth/…`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def answer(self, request: Request) -> ApiAnswer | None:
        """The response, or None if the request is for the service."""
        if request.path == "/":
            return ApiAnswer(200, PAGE, content_type="text/html;charset=utf-8")
        if request.path != PREFIX and not request.path.startswith(f"{PREFIX}/"):
            return None
        found = self._find(request.method, request.path.removeprefix(PREFIX).strip("/"), request)
        if found is None:
            return ApiAnswer(404, dumps({"error": f"no {request.method} {request.path} here", "routes": _ROUTES}))
        return ApiAnswer(200, dumps(found))

    def _find(self, method: str, name: str, request: Request) -> object:
        service = self._service
        if method == "POST" and name == "reset":
            service.clear()
            return {"reset": True}
        if method == "POST" and name == "withhold":
            service.withheld = _parameter(request, "newest", 0)
            return {"withheld": service.withheld}
        if method not in ("GET", "HEAD"):
            return None
        if name == "":
            return _ROUTES
        if name == "world":
            return dict(service.world.facts())
        if name == "ids":
            count = min(_parameter(request, "count", 1000), _MAX_IDS)
            return {"ids": service.world.ids(_parameter(request, "start", 0), count)}
        if name == "requests":
            return service.tally.requests()
        if name == "identities":
            return service.tally.identities(_parameter(request, "at_least", 1))
        if name.startswith("account/"):
            return self._account(name.removeprefix("account/"))
        if name.startswith("posts/"):
            return self._posts(name.removeprefix("posts/"))
        return None

    def _find_account(self, text: str) -> Account | None:
        number = whole_number(text, 10**19 - 1)
        return None if number is None else self._service.world.find(number)

    def _posts(self, text: str) -> object:
        account = self._find_account(text)
        if account is None:
            return None
        lines = self._service.world.posts(account, 0, account.posts, Style(extended=True, trim_user=True))
        return {"posts": [_as_written(json.loads(line)) for line in lines]}

    def _account(self, text: str) -> object:
        world = self._service.world
        account = self._find_account(text)
        if account is None:
            return None
        return {
            "id": account.id,
            "state": account.state.value,
            "posts": account.posts,
            "post_ids": world.post_ids(account),
            "followers": list(world.followers(account, 0, world.follower_count(account))),
            "friends": list(world.friends(account, 0, world.friend_count(account))),
        }


def _as_written(post: dict[str, Any]) -> dict[str, object]:
    """The text of a post as a person reads it: for a repost the original's, for a quote also the quoted one."""
    reposted, quoted = post.get("retweeted_status"), post.get("quoted_status")
    kind = "repost" if reposted else "quote" if quoted else "plain"
    said = {"id": post["id"], "kind": kind, **_text(reposted or post)}
    if other := reposted or quoted:
        said["of"] = other["id"]
    if quoted and not reposted:
        said["quoted"] = _text(quoted)
    return said


def _text(post: dict[str, Any]) -> dict[str, object]:
    """A text and its hashtags; a text of a dataset may have been truncated when it was stored."""
    entities = post.get("entities")
    tags = entities.get("hashtags") if isinstance(entities, dict) else None
    named = [tag["text"] for tag in tags or () if isinstance(tag, dict) and "text" in tag]
    return {"text": post.get("full_text", post.get("text", "")), "hashtags": named}


def _parameter(request: Request, name: str, default: int) -> int:
    number = whole_number(request.params.get(name, ""), 10**11 - 1)
    return default if number is None else number
