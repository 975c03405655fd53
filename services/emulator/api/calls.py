"""The emulated service: maps a request and the time to a response. No sockets, no clock.

Behaviour of the service that it does not document, and that is emulated: a timeline or list of a protected or
suspended account is 401 "Not authorized."; of a deleted or unknown one 404 with code 34; a suspended account appears
only in users/show (403, code 63) and is omitted from users/lookup like a deleted one. An invalid parameter is 403 with
code 44, a missing account parameter 400 with code 25. Counts above the maximum page size are reduced to it. Posts that
`include_rts=false` and `exclude_replies` filter out count towards the page, so a page may be short, or empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate

from protocol.numbers import MAX_INT64, whole_number
from services.emulator.api.auth import ApiCaller, bearer_token, consumer_key, identify
from services.emulator.api.cursors import BEGINNING, END, Cursors
from services.emulator.api.faults import SOUND, FaultRates, Faults, Trial
from services.emulator.api.http_messages import ApiAnswer, CallRefused, Cut, NotAuthorized, Request
from services.emulator.api.limits import ENDPOINTS, LimitWindow, RateLimits, Windows
from services.emulator.api.tally import REMEMBERED, Tally, identity_of
from services.emulator.worlds.encoding import dumps
from services.emulator.worlds.world import Account, AccountState, Style, World

TIMELINE_PAGE, TIMELINE_DEFAULT = 200, 20
LIST_PAGE = 5000
MAX_LOOKUP = 100
_TRUE = frozenset({"true", "t", "1"})
_FALSE = frozenset({"false", "f", "0"})
_TOKEN_PATH = "/oauth2/token"
_VERSIONS = ("/1.1/", "/1/")
_PUT_OFF = (429, 503)
"""Refusals that may have a Retry-After header."""
_PAGE_MISSING = (404, 34, "Sorry, that page does not exist.")


@dataclass(frozen=True, slots=True)
class Rules:
    """How the service behaves. `page_cap` bounds every page; the `withheld` newest posts of an account are hidden."""

    limits: RateLimits
    rates: FaultRates
    seed: int = 0
    page_cap: int = LIST_PAGE
    withheld: int = 0
    remembered: int = REMEMBERED


class Service:
    """The calls of the v1.1 API on one world."""

    def __init__(self, world: World, rules: Rules) -> None:
        self.world = world
        self.rules = rules
        self.withheld = rules.withheld
        self.windows = Windows(rules.limits)
        self.faults = Faults(rules.rates, rules.seed)
        self.tally = Tally(rules.remembered)
        self._calls: dict[str, Callable[[Request, ApiCaller, Trial, float], bytes]] = {
            "statuses/user_timeline": self._timeline,
            "followers/ids": self._followers,
            "friends/ids": self._friends,
            "users/lookup": self._lookup,
            "users/show": self._show,
            "application/rate_limit_status": self._rate_limit_status,
        }

    def clear(self) -> None:
        """Reset to the state after the start: no counts, all windows full, every fault due again."""
        self.windows.clear()
        self.faults.clear()
        self.tally.clear()

    def answer(self, request: Request, now: float) -> ApiAnswer:
        """Answer one request at `now`, in seconds since 1970. Never raises, whatever a client sends."""
        endpoint = _endpoint(request.path)
        if endpoint is None:
            try:
                return ApiAnswer(200, self._token(request) if request.path == _TOKEN_PATH else _missing())
            except CallRefused as refused:
                return ApiAnswer(refused.status, refused.body)
        identity = identity_of(endpoint, request.params)
        self.tally.come(identity, now)
        address = ApiCaller(f"address:{request.address}")
        try:
            header = request.headers.get("authorization", "")
            caller = identify(header, request.params, request.address, self.rules.seed)
            _require_method(request, endpoint)
        except CallRefused as refused:
            window = self.windows.look(address.who, endpoint, app=False, now=now)
            return self._told(endpoint, address, identity, ApiAnswer(refused.status, refused.body), SOUND, window, now)
        granted, window = self.windows.spend(caller.who, endpoint, app=caller.app, now=now)
        if not granted:
            spent = CallRefused(429, 88, "Rate limit exceeded")
            return self._told(endpoint, caller, identity, ApiAnswer(spent.status, spent.body), SOUND, window, now)
        trial = self.faults.meet(identity)
        try:
            _fail(trial)
            answer = ApiAnswer(200, self._calls[endpoint](request, caller, trial, now))
        except CallRefused as refused:
            answer = ApiAnswer(refused.status, refused.body)
        return self._told(endpoint, caller, identity, answer, trial, window, now)

    def _told(
        self,
        endpoint: str,
        caller: ApiCaller,
        identity: str,
        answer: ApiAnswer,
        trial: Trial,
        window: LimitWindow,
        now: float,
    ) -> ApiAnswer:
        """Count the response, and add to it the caller's window and the faults of its transport."""
        cut = next((cut for cut in Cut if cut.value in trial.kinds and answer.status == 200), None)
        full = answer.status == 200 and cut is None and "repeat_cursor" not in trial.kinds
        self.tally.count(endpoint, caller.who, answer.status, identity, full=full, faulted=bool(trial.kinds))
        headers = {
            "x-rate-limit-limit": str(window.limit),
            "x-rate-limit-remaining": str(window.remaining),
            "x-rate-limit-reset": str(window.reset),
        }
        if answer.status in _PUT_OFF and self.rules.rates.retry_after_s:
            headers["Retry-After"] = self._retry_after(identity, trial, now)
        return replace(answer, headers=headers, wait_s=trial.wait_s, cut=cut)

    def _retry_after(self, identity: str, trial: Trial, now: float) -> str:
        """The value of Retry-After: seconds or a date, as the seed decides."""
        until = now + self.rules.rates.retry_after_s
        if trial.draw % 2:
            until = int(until)
        self.tally.put_off(identity, until)
        return formatdate(until, usegmt=True) if trial.draw % 2 else str(self.rules.rates.retry_after_s)

    def _token(self, request: Request) -> bytes:
        if request.method != "POST":
            raise CallRefused(405, 86, "This method requires a POST.")
        key = consumer_key(request.headers.get("authorization", ""))
        if request.params.get("grant_type") != "client_credentials":
            raise CallRefused(400, 170, "Missing required parameter: grant_type")
        return dumps({"token_type": "bearer", "access_token": bearer_token(self.rules.seed, key)})

    def _timeline(self, request: Request, caller: ApiCaller, trial: Trial, now: float) -> bytes:
        account = self._visible(request)
        largest = min(TIMELINE_PAGE, self.rules.page_cap)
        count = min(_number(request, "count", TIMELINE_DEFAULT, least=1), largest)
        max_id = _number(request, "max_id", MAX_INT64)
        since_id = _number(request, "since_id", 0)
        start = max(self.withheld, self.world.locate(account, max_id) if max_id < MAX_INT64 else 0)
        stop = self.world.locate(account, since_id) if since_id else account.posts
        length = trial.shortened(max(0, min(stop - start, count)))
        style = Style(
            extended=_flag(request, "tweet_mode", "extended"),
            trim_user=_flag(request, "trim_user"),
            reposts=request.params.get("include_rts", "").lower() not in _FALSE,
            replies=not _flag(request, "exclude_replies"),
        )
        return b"[" + b",".join(self.world.posts(account, start, start + length, style)) + b"]"

    def _followers(self, request: Request, caller: ApiCaller, trial: Trial, now: float) -> bytes:
        account = self._visible(request)
        return self._list(request, trial, account, self.world.follower_count(account), self.world.followers)

    def _friends(self, request: Request, caller: ApiCaller, trial: Trial, now: float) -> bytes:
        account = self._visible(request)
        return self._list(request, trial, account, self.world.friend_count(account), self.world.friends)

    def _list(
        self,
        request: Request,
        trial: Trial,
        account: Account,
        total: int,
        members: Callable[[Account, int, int], Sequence[int]],
    ) -> bytes:
        """One page of ids. A cursor encodes the position after the ids returned, so pages may have any size."""
        count = min(_number(request, "count", LIST_PAGE, least=1), LIST_PAGE, self.rules.page_cap)
        cursors = Cursors(self.rules.seed, _endpoint(request.path) or "", account.id)
        asked = _cursor(request)
        start, stop = _span(cursors, asked, count, total)
        ids = members(account, start, trial.shortened(stop - start))
        end = start + len(ids)
        after = cursors.at(end) if end < total and asked != END else END
        if "repeat_cursor" in trial.kinds:
            after = asked
        before = -cursors.at(start) if start > 0 and asked != END else END
        quoted = _flag(request, "stringify_ids")
        listed = '"' + '","'.join(map(str, ids)) + '"' if quoted and ids else ",".join(map(str, ids))
        return (
            f'{{"ids":[{listed}],"next_cursor":{after},"next_cursor_str":"{after}",'
            f'"previous_cursor":{before},"previous_cursor_str":"{before}"}}'
        ).encode()

    def _lookup(self, request: Request, caller: ApiCaller, trial: Trial, now: float) -> bytes:
        users = list(filter(None, request.params.get("user_id", "").split(",")))
        names = list(filter(None, request.params.get("screen_name", "").split(",")))
        if not users and not names:
            raise CallRefused(400, 25, "Query parameters are missing.")
        if len(users) + len(names) > MAX_LOOKUP:
            raise CallRefused(403, 18, "Too many terms specified in query.")
        accounts = [self._by_id(user.strip()) for user in users]
        accounts += [self.world.find_name(name.strip()) for name in names]
        known = {account.id: account for account in accounts if account and _has_profile(account)}
        if not known:
            raise CallRefused(404, 17, "No user matches for specified terms.")
        return b"[" + b",".join(map(self.world.profile, known.values())) + b"]"

    def _show(self, request: Request, caller: ApiCaller, trial: Trial, now: float) -> bytes:
        account = self._named(request)
        if account is None or account.state is AccountState.DELETED:
            raise CallRefused(404, 50, "User not found.")
        if account.state is AccountState.SUSPENDED:
            raise CallRefused(403, 63, "User has been suspended.")
        return self.world.profile(account)

    def _rate_limit_status(self, request: Request, caller: ApiCaller, trial: Trial, now: float) -> bytes:
        asked = set(filter(None, request.params.get("resources", "").split(",")))
        resources: dict[str, dict[str, dict[str, int]]] = {}
        for endpoint in ENDPOINTS:
            family = endpoint.partition("/")[0]
            if asked and family not in asked:
                continue
            window = self.windows.look(caller.who, endpoint, app=caller.app, now=now)
            told = {"limit": window.limit, "remaining": window.remaining, "reset": window.reset}
            resources.setdefault(family, {})[f"/{endpoint}"] = told
        kind = "application" if caller.app else "access_token"
        return dumps({"rate_limit_context": {kind: caller.who.partition(":")[2]}, "resources": resources})

    def _by_id(self, text: str) -> Account | None:
        user = whole_number(text, MAX_INT64)
        return None if user is None else self.world.find(user)

    def _named(self, request: Request) -> Account | None:
        user, name = request.params.get("user_id", ""), request.params.get("screen_name", "")
        if not user and not name:
            raise CallRefused(400, 25, "Query parameters are missing.")
        return self._by_id(user) if user else self.world.find_name(name)

    def _visible(self, request: Request) -> Account:
        """The account of a timeline or list. Raises `CallRefused` unless it is public."""
        account = self._named(request)
        if account is None or account.state is AccountState.DELETED:
            raise CallRefused(*_PAGE_MISSING)
        if account.state is not AccountState.PUBLIC:
            raise NotAuthorized(request.path)
        return account


def _endpoint(path: str) -> str | None:
    """The endpoint of a path like `/1.1/users/show.json`, or None."""
    for version in _VERSIONS:
        if path.startswith(version) and path.endswith(".json"):
            endpoint = path[len(version) : -len(".json")]
            return endpoint if endpoint in ENDPOINTS else None
    return None


def _missing() -> bytes:
    raise CallRefused(*_PAGE_MISSING)


def _require_method(request: Request, endpoint: str) -> None:
    if request.method not in ("GET", "HEAD") and not (request.method == "POST" and endpoint == "users/lookup"):
        raise CallRefused(405, 86, "This method requires a GET.")


def _fail(trial: Trial) -> None:
    if "http500" in trial.kinds:
        raise CallRefused(500, 131, "Internal error")
    if "http503" in trial.kinds:
        raise CallRefused(503, 130, "Over capacity")


def _has_profile(account: Account) -> bool:
    return account.state in (AccountState.PUBLIC, AccountState.PROTECTED)


def _number(request: Request, name: str, default: int, *, least: int = 0) -> int:
    text = request.params.get(name, "")
    if not text:
        return default
    number = whole_number(text, MAX_INT64)
    if number is None or number < least:
        raise CallRefused(403, 44, f"{name} parameter is invalid.")
    return number


def _flag(request: Request, name: str, word: str = "") -> bool:
    text = request.params.get(name, "").lower()
    return text == word if word else text in _TRUE


def _cursor(request: Request) -> int:
    text = request.params.get("cursor", "") or str(BEGINNING)
    number = whole_number(text.removeprefix("-"), MAX_INT64)
    if number is None:
        raise CallRefused(403, 44, "cursor parameter is invalid.")
    return -number if text.startswith("-") else number


def _span(cursors: Cursors, asked: int, count: int, total: int) -> tuple[int, int]:
    """The positions of a page, from and up to. Raises `CallRefused` for a cursor that is not of this list."""
    if asked == BEGINNING:
        return 0, min(count, total)
    if asked == END:
        return total, total
    position = cursors.position(abs(asked))
    if position is None or position > total:
        raise CallRefused(403, 44, "cursor parameter is invalid.")
    if asked < 0:
        return max(0, position - count), position
    return position, min(position + count, total)
