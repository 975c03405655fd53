"""Access control: who may view the pages, and who may perform actions.

Rules:
  * Actions require signing in with the token, which is new at each start of the monitor and sent once, in the body of a
    POST; after that a cookie replaces it (HttpOnly, SameSite=Strict), which is valid as long as the process lives.
  * An action requires three things that no other site can send together: the cookie, the session's second secret in a
    separate header, and an Origin that is this page's.
  * On loopback everybody on the machine may view; beyond it, and with a configured name or path, viewing requires the
    token too: requests through a proxy arrive over loopback, wherever the client is.

`services.http` checks for every service that a request names this host, and what the origin of our own pages is.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.http.names import Names

MAX_SESSIONS: Final = 64
"""Beyond it, the least recently used one is removed."""
TOKEN_BYTES: Final = 18
CSRF_HEADER: Final = "X-Tmatic-Csrf"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A signed-in session: `identifier` is the cookie's, `csrf` is sent in the header of each action."""

    identifier: str
    csrf: str


class AccessGuard:
    """`names` are the host names that requests may use; `proxied` means that a proxy forwards requests of others,
    whatever name they use; `token` is generated unless it is given."""

    def __init__(self, names: Names, token: str | None = None, *, proxied: bool = False) -> None:
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self.open_to_all = names.local and not proxied
        self._names = names
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()

    def sign_in(self, token: str) -> BrowserSession | None:
        """A new session, if the token is correct."""
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            return None
        session = BrowserSession(secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES))
        self._sessions[session.identifier] = session
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def sign_out(self, session: BrowserSession) -> None:
        """Invalidate the session's cookie."""
        self._sessions.pop(session.identifier, None)

    def session(self, cookie: str | None) -> BrowserSession | None:
        """The session of a cookie."""
        found = self._sessions.get(cookie or "")
        if found is not None:
            self._sessions.move_to_end(found.identifier)
        return found

    def may_look(self, session: BrowserSession | None) -> bool:
        """Whether the pages' contents may be read."""
        return self.open_to_all or session is not None

    def why_not_act(self, session: BrowserSession | None, headers: Mapping[str, str], host: str) -> str:
        """The reason why an action is refused, for people; "" when it is not."""
        if session is None:
            return "sign in first: the token is in the line that tmatic-monitor printed at its start"
        if not secrets.compare_digest(headers.get(CSRF_HEADER, "").encode("utf-8", "replace"), session.csrf.encode()):
            return "the page is an old one: load it again"
        return self.why_not_ours(headers, host)

    def why_not_ours(self, headers: Mapping[str, str], host: str) -> str:
        """The reason why a POST is not from one of our pages, for people; "" when it is."""
        if not self._names.own_page(headers.get("Origin", ""), host):
            return "this was not sent by a page of this monitor"
        if headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return "this was not sent by a page of this monitor"
        return ""
