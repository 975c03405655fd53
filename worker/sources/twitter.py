"""Twitter's API v1.1: its three calls, the callers that it counts, and the meaning of its refusals.

| answer | meaning |
|---|---|
| 401 `{"request", "error": "Not authorized."}` | protected (or suspended: timelines do not tell the two apart) |
| 403 with code 63 | suspended |
| 404 with code 34 or 50 | deleted |
| 404 with code 17, of users/lookup | none of these accounts is shown |
| 401 with 32 or 89, 400 with 215 | the credential is wrong |
| 5xx | another try |
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from protocol.errors import MalformedError, UsageError
from protocol.jobs import Operation, Outcome
from protocol.logs import fields
from protocol.messages import Caller
from protocol.numbers import whole_number
from protocol.settings.settings import Settings
from protocol.transport.http_routes import Proxy, ways_of
from storage.dataset.interface import Record
from worker.client.allowance import RequestAllowance
from worker.client.errors import UnavailableError
from worker.client.http import Call, HttpAnswer, HttpClient
from worker.client.retry_after import service_time
from worker.client.retrying_client import (
    ClientContext,
    RateLimitHeaders,
    RetryingClient,
    RetryPolicy,
    ServiceError,
    TroubleError,
)
from worker.sources.json_records import line, parse
from worker.sources.source import Profile, SourcePage

log = logging.getLogger(__name__)

TIMELINE, FOLLOWERS, LOOKUP = "statuses/user_timeline", "followers/ids", "users/lookup"
ENDPOINTS = {
    Operation.TIMELINE: TIMELINE,
    Operation.FOLLOWER: FOLLOWERS,
    Operation.ANALYSE: LOOKUP,
    Operation.UPDATE: TIMELINE,
}
POSTS_AT_ONCE, FOLLOWERS_AT_ONCE, PROFILES_AT_ONCE = 200, 5000, 100
WHOLE = "extended"
"""The mode in which texts of more than 140 characters are returned whole; without it they are truncated."""
VERSION = "/1.1"
"""The API version in each path, whether or not --base-url ends with it."""
END = "0"
"""The cursor after the last page of a list."""


SHARED = "shared"
"""The default caller: every worker without a credential, a proxy or a bound address. A machine's name does not prove an
address of its own: containers have many names behind one address."""

_NOBODY_KNOWN = 17
_MAX_NUMBER = 10**15 - 1
_MAX_POSTS = 1 << 53
"""Larger post counts of an account are not believed."""


class TruncatedPosts:
    """Posts that were returned truncated although whole ones were requested: a service without longer posts does so.
    They are stored as received, and reported once."""

    def __init__(self) -> None:
        self._told = False

    def look(self, user: str, posts: list[dict[str, Any]]) -> None:
        """Check a page of an account's posts."""
        cut = 0 if self._told else sum(_is_cut(post) for post in posts)
        if cut:
            self._told = True
            log.warning(
                "the service cuts long posts although they are asked for whole; they are stored as they come",
                extra=fields(user=user, cut=cut, posts=len(posts)),
            )


class Twitter:
    """The source, and the callers that the service counts: determined once per process.

    | the settings name | counted is |
    |---|---|
    | a credential | the credential, whatever else they name |
    | a proxy | the proxy, from whichever local address it is called |
    | a caller | the caller, from whichever address it calls |
    | addresses to call from | each of them |
    | nothing | one caller shared by all workers that name nothing: they share one budget |
    """

    service = "twitter"
    profiles_at_once = PROFILES_AT_ONCE

    def __init__(self, settings: Settings) -> None:
        self._base = settings.base_url.rstrip("/").removesuffix(VERSION).rstrip("/") + VERSION + "/"
        self._headers = _credential_header(settings.bearer_token)
        retry_policy = RetryPolicy(settings.max_attempts, settings.timeout_factor_s, settings.toomany_sleep_s)
        ways = ways_of(settings.proxy, settings.ca_file)
        self._client_context = ClientContext(HttpClient(user_agent(settings.contact), ways), retry_policy)
        self.budgets = self._client_context.budgets
        self._cuts = TruncatedPosts()
        addresses = list(dict.fromkeys(map(_local_address, settings.bind_ip)))
        self._counted = _counted(settings, ways.proxy(settings.base_url), addresses)

    def callers(self) -> list[Caller]:
        """One for each operation and caller."""
        return [Caller(operation.value, who, ENDPOINTS[operation]) for operation in Operation for who in self._counted]

    def reader(self, who: str, allowance: RequestAllowance, told: Callable[[int], None]) -> TwitterReader:
        """The calls of a lease, from an address that the service counts as `who`."""
        addresses = self._counted.get(who)
        if addresses is None:
            raise ServiceError(f"the job is to be asked for as {who}, and this worker is not that caller")

        def address() -> str:
            return next(addresses)

        asking = RetryingClient(self._client_context, allowance, who, address, said, told)
        return TwitterReader(asking, self._base, self._headers, self._cuts)


class TwitterReader:
    """The calls of one lease."""

    def __init__(self, asking: RetryingClient, base: str, headers: dict[str, str], cuts: TruncatedPosts) -> None:
        self._asking, self._base, self._headers, self._cuts = asking, base, headers, cuts

    def posts(self, user: str, cursor: str, since: str) -> SourcePage:
        """Whole posts up to and including the id `cursor`. Pages may be short: only an empty one is the end."""
        params = {"user_id": user, "count": str(POSTS_AT_ONCE), "tweet_mode": WHOLE}
        if cursor:
            params["max_id"] = cursor
        if since:
            params["since_id"] = since
        posts = self._asking.ask(self._call(TIMELINE, params), _documents)
        if not posts:
            return SourcePage((), "")
        self._cuts.look(user, [post for _, post in posts])
        records = tuple(record for record, _ in posts)
        _, newest = posts[0]
        # A service that does not go back any further must not make the cursor rise again.
        lowest = min(int(record.id) for record in records) - 1
        after = min(lowest, int(cursor)) if cursor else lowest
        return SourcePage(records, str(after), _statuses_count(newest))

    def followers(self, user: str, cursor: str) -> SourcePage:
        """Ids of followers, newest first."""
        params = {"user_id": user, "count": str(FOLLOWERS_AT_ONCE), "cursor": cursor or "-1", "stringify_ids": "true"}
        ids, after = self._asking.ask(self._call(FOLLOWERS, params), _ids)
        return SourcePage(tuple(Record(one, one.encode()) for one in ids), "" if after == END else after)

    def profiles(self, users: Sequence[str]) -> list[Profile]:
        """Profiles of at most 100 accounts, each once. Those that were not requested are dropped."""
        params = {"user_id": ",".join(users)}
        described = self._asking.ask(self._call(LOOKUP, params, "POST"), _documents_or_none)
        wanted = set(users)
        profiles: dict[str, Profile] = {}
        for record, document in described:
            if record.id in wanted:
                profiles.setdefault(record.id, Profile(record, document))
        return list(profiles.values())

    def _call(self, endpoint: str, params: dict[str, str], method: str = "GET") -> Call:
        return Call(endpoint, f"{self._base}{endpoint}.json", params, method, self._headers)


# Parsing of responses.


def said(answer: HttpAnswer) -> RateLimitHeaders | None:
    """The budget in the headers of a response. A negative remainder counts as 0."""
    headers = answer.headers
    limit, reset = (whole_number(headers.get(f"x-rate-limit-{name}", ""), _MAX_NUMBER) for name in ("limit", "reset"))
    left = headers.get("x-rate-limit-remaining", "")
    remaining = 0 if left.startswith("-") and whole_number(left[1:], _MAX_NUMBER) else whole_number(left, _MAX_NUMBER)
    if limit is None or remaining is None or reset is None:
        return None
    date = service_time(headers.get("Date", ""))
    return RateLimitHeaders(max(1, limit), remaining, reset, answer.at if date is None else date)


def _read(answer: HttpAnswer) -> Any:
    """The document of a successful response. Raises the meaning of any other."""
    if answer.status != 200:
        raise _refusal(answer)
    try:
        return parse(answer.body)
    except MalformedError as error:
        raise TroubleError(f"the answer is 200, but {error}") from error


def _documents(answer: HttpAnswer) -> list[tuple[Record, dict[str, Any]]]:
    """A list of objects, each as the record to store and as parsed."""
    listed = _read(answer)
    if not isinstance(listed, list) or not all(isinstance(document, dict) for document in listed):
        raise TroubleError("the answer is not a list of objects")
    try:
        documents = [(Record(_id(document), line(document)), document) for document in listed]
    except MalformedError as error:
        raise TroubleError(f"an object of the answer is no use: {error}") from error
    if not all(record.id for record, _ in documents):
        raise TroubleError("an object of the answer has no id")
    return documents


def _documents_or_none(answer: HttpAnswer) -> list[tuple[Record, dict[str, Any]]]:
    if answer.status == 404 and _NOBODY_KNOWN in _codes(_errors(answer)):
        return []
    return _documents(answer)


def _ids(answer: HttpAnswer) -> tuple[list[str], str]:
    document = _read(answer)
    if isinstance(document, dict) and isinstance(document.get("ids"), list):
        ids = [str(one) for one in document["ids"] if isinstance(one, int | str)]
        after = str(document.get("next_cursor_str", document.get("next_cursor", "")))
        if len(ids) == len(document["ids"]) and all(map(_is_number, ids)) and _is_number(after.removeprefix("-")):
            return ids, after
    raise TroubleError("the answer is not a page of ids with a cursor")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 32


def _id(document: dict[str, Any]) -> str:
    """The digits of an id, empty when there are none."""
    found = document.get("id_str", document.get("id"))
    text = str(found) if isinstance(found, int | str) else ""
    return text if _is_number(text) else ""


def _is_cut(post: dict[str, Any]) -> bool:
    """Whether the text of a post, or of the post that it reposts, is truncated."""
    original = post.get("retweeted_status")
    whole = original if isinstance(original, dict) else post
    return whole.get("truncated") is True and "full_text" not in whole and "extended_tweet" not in whole


def _statuses_count(post: dict[str, Any]) -> int | None:
    author = post.get("user")
    count = author.get("statuses_count") if isinstance(author, dict) else None
    return count if type(count) is int and 0 <= count < _MAX_POSTS else None


def _errors(answer: HttpAnswer) -> dict[str, Any]:
    try:
        document = parse(answer.body)
    except MalformedError:
        return {}
    return document if isinstance(document, dict) else {}


def _codes(document: dict[str, Any]) -> dict[int, str]:
    """The errors of a response, code to message."""
    listed = document.get("errors")
    found = {}
    for error in listed if isinstance(listed, list) else []:
        if isinstance(error, dict) and type(error.get("code")) is int:
            found[error["code"]] = str(error.get("message", ""))[:200]
    return found


def _refusal(answer: HttpAnswer) -> Exception:
    """The meaning of an unsuccessful response, as the exception to raise."""
    status = answer.status
    document = _errors(answer)
    codes = _codes(document)
    who = f"the service or the proxy {answer.via}" if answer.via and status >= 500 else "the service"
    words = f"{who} answers {status}" + "".join(f", code {code}: {text}" for code, text in codes.items())
    if status >= 500 or status == 408:
        return TroubleError(words)
    if status == 401 and not codes and document.get("error") == "Not authorized.":
        return UnavailableError(Outcome.PROTECTED, "the service says: Not authorized.")
    if status == 403 and 63 in codes:
        return UnavailableError(Outcome.SUSPENDED, words)
    if status == 404 and codes.keys() & {34, 50}:
        return UnavailableError(Outcome.DELETED, words)
    if status in (400, 401) and (codes.keys() & {32, 89, 215} or status == 401):
        return ServiceError(f"{words}; the credential is not taken: check bearer_token")
    if 300 <= status < 400:
        place = answer.headers.get("Location", "nowhere")[:200]
        return ServiceError(f"{words}, and sends us to {place}: that is for --base-url to say")
    return ServiceError(words)


# Request headers and addresses.


def user_agent(contact: str) -> str:
    """The User-Agent: program and contact."""
    try:
        ours = f"twittomatic/{version('twittomatic')}"
    except PackageNotFoundError:
        ours = "twittomatic"
    if not contact.isascii() or not contact.isprintable():
        raise UsageError("contact must be in ASCII, since it is sent in a header")
    return f"{ours} (+{contact})" if contact else ours


def _credential_header(token: str) -> dict[str, str]:
    if not token:
        return {}
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("bearer_token holds what no token has: blanks, or characters beyond ASCII")
    return {"Authorization": f"Bearer {token}"}


def _local_address(text: str) -> str:
    """The canonical form of a local address: `127.1` is 127.0.0.1, and not a second caller."""
    try:
        family, *_, place = socket.getaddrinfo(text, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(place)
    except OSError as error:
        raise UsageError(f"--bind-ip {text} is no address of this machine: {error.strerror}") from error
    return str(place[0])


def _counted(settings: Settings, proxy: Proxy | None, addresses: Sequence[str]) -> dict[str, Iterator[str]]:
    """The callers that the service counts, each with the addresses to call from, in turn; "" is any."""
    if settings.bearer_token:
        who = "credential:" + hashlib.sha256(settings.bearer_token.encode()).hexdigest()[:16]
    elif proxy is not None:
        who = f"proxy:{proxy.place.lower()}"
    elif settings.caller:
        who = f"caller:{settings.caller}"
    elif addresses:
        return {f"address:{address}": itertools.repeat(address) for address in addresses}
    else:
        who = SHARED
    if settings.caller and not who.startswith("caller:"):
        log.info(f"--caller {settings.caller} gives no budget of its own: the service counts {who}")
    return {who: itertools.cycle(addresses or [""])}
