"""Who may look, and who may act.

Rules it keeps:
  * Whoever may act has shown the token, which is new each time the monitor starts and travels once, in the body of a
    POST; after that a cookie speaks for it (HttpOnly, SameSite=Strict), which lives as long as the process.
  * An action needs three things that no other site can send together: the cookie, the session's second secret in a
    header of its own, and an Origin that is this very page's.
  * On loopback everybody on the machine may look; beyond it, and behind a name or a path that was named, looking needs
    the token as well: who comes through a proxy comes over loopback, wherever he is.

That a request names this very host, and what a page of ours is, is what `services.http` sees to, for every service.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.http.names import Names

MAX_SESSIONS: Final = 64
"""The one that was used longest ago makes room."""
TOKEN_BYTES: Final = 18
CSRF_HEADER: Final = "X-Tmatic-Csrf"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """Who has shown the token: `identifier` is the cookie's, `csrf` goes into the header of each action."""

    identifier: str
    csrf: str


class AccessGuard:
    """`names` are those under which the monitor may be asked, and `proxied` says that a proxy brings others in whatever
    name it asks for; `token` is made unless it is given."""

    def __init__(self, names: Names, token: str | None = None, *, proxied: bool = False) -> None:
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self.open_to_all = names.local and not proxied
        self._names = names
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()

    def sign_in(self, token: str) -> BrowserSession | None:
        """A new session for whoever knows the token."""
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            return None
        session = BrowserSession(secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES))
        self._sessions[session.identifier] = session
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def sign_out(self, session: BrowserSession) -> None:
        """The cookie is worth nothing from here on."""
        self._sessions.pop(session.identifier, None)

    def session(self, cookie: str | None) -> BrowserSession | None:
        """The session of a cookie."""
        found = self._sessions.get(cookie or "")
        if found is not None:
            self._sessions.move_to_end(found.identifier)
        return found

    def may_look(self, session: BrowserSession | None) -> bool:
        """Whether what is shown may be read."""
        return self.open_to_all or session is not None

    def why_not_act(self, session: BrowserSession | None, headers: Mapping[str, str], host: str) -> str:
        """Why an action is refused, in words; "" when it is not."""
        if session is None:
            return "sign in first: the token is in the line that tmatic-monitor printed at its start"
        if not secrets.compare_digest(headers.get(CSRF_HEADER, "").encode("utf-8", "replace"), session.csrf.encode()):
            return "the page is an old one: load it again"
        return self.why_not_ours(headers, host)

    def why_not_ours(self, headers: Mapping[str, str], host: str) -> str:
        """Why a POST does not come from a page of ours, in words; "" when it does."""
        if not self._names.own_page(headers.get("Origin", ""), host):
            return "this was not sent by a page of this monitor"
        if headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return "this was not sent by a page of this monitor"
        return ""
