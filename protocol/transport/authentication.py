"""Authentication: every handshake with a master's socket is checked against the current keys in its folder.

pyzmq's ZAP (https://rfc.zeromq.org/spec/27/) handles it in a thread of its own. A second thread reads the folder once
a second, so that neither the loop nor a handshake waits for a disk. An existing connection is never authenticated
again: `protocol.transport.gatekeeper` checks the messages from and to its sender.
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Final

import zmq
from zmq.auth.thread import ThreadAuthenticator

from protocol.errors import UsageError
from protocol.logs import fields
from protocol.transport.keys import KeyRole, Keys, KeyState, PublicKey, Version
from protocol.transport.sockets import EVENTS_DOMAIN, JOBS_DOMAIN

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the folder is read: the longest delay until a revoked key is cut."""
LOOK_AGAIN_S: Final = 0.1
"""The shortest interval at which an unknown key triggers a read: it may have been made a moment ago."""
MAX_TOLD: Final = 1000
"""Refused keys that are logged. More would let a stranger fill the log."""

MAY_CONNECT: Final = {
    JOBS_DOMAIN: frozenset(KeyRole),
    EVENTS_DOMAIN: frozenset({KeyRole.SUBSCRIBER, KeyRole.PEER}),
}
"""The roles that may connect to each kind of socket."""


class Authorised:
    """The authorised keys, as last read from the folder. Thread-safe."""

    def __init__(self, keys: Keys) -> None:
        """Raises UsageError when the folder has no master key, or cannot be trusted."""
        self._keys = keys
        self._lock = threading.Lock()
        self._master = keys.master().public
        self._roles: dict[str, KeyRole] = {}
        self._names: dict[str, str] = {}
        self._files: dict[tuple[KeyState, str], tuple[Version, PublicKey | None]] = {}
        self._looked_at = 0.0
        self._trouble = ""
        self.changes = 0
        """How often the set of authorised keys has changed."""
        self.look()

    def role_of(self, public: str) -> KeyRole | None:
        """The role of a public key's owner; None when it is not authorised."""
        return self._roles.get(public)

    def name_of(self, public: str) -> str:
        """The present or former name of this key in the folder; empty for an unknown key."""
        return self._names.get(public, "")

    def look(self, unless_within_s: float = 0.0) -> None:
        """Read what has changed in the folder, unless that was done within the last `unless_within_s` seconds.

        A damaged file authorises no key. A folder that cannot be read changes nothing: a short disk failure is no
        reason to reject every worker.
        """
        with self._lock:
            if time.monotonic() - self._looked_at < unless_within_s:
                return
            try:
                self._read()
                self._trouble = ""
            except UsageError as error:
                if self._trouble != str(error):
                    self._trouble = str(error)
                    log.warning(f"{error}; whoever was authorised before still is")
            self._looked_at = time.monotonic()

    def _read(self) -> None:
        there = {(state, name): at for state in KeyState for name, at in self._keys.versions(state).items()}
        if there == {file: version for file, (version, _) in self._files.items()}:
            return
        before = self._files
        self._files = {file: self._once(file, version, before) for file, version in there.items()}
        found = [key for _, key in self._files.values() if key is not None]
        # By its name too: a revocation with a damaged file still counts.
        names = {name for state, name in there if state is KeyState.REVOKED}
        publics = {key.public for key in found if key.state is KeyState.REVOKED}
        roles = {key.public: key.role for key in found if key.name not in names and key.public not in publics}
        self._names = {key.public: key.name for key in found}
        roles[self._master] = KeyRole.PEER
        if roles != self._roles:
            self._roles = roles
            self.changes += 1

    def _once(
        self,
        file: tuple[KeyState, str],
        version: Version,
        before: dict[tuple[KeyState, str], tuple[Version, PublicKey | None]],
    ) -> tuple[Version, PublicKey | None]:
        known = before.get(file)
        if known is not None and known[0] == version:
            return known
        try:
            return version, self._keys.read(*file)
        except UsageError as error:
            log.warning(f"{error}; until then it authorises nobody")
            return version, None


class _Judge:
    """Checks the handshakes of one kind of socket, for pyzmq. Raises nothing, since that would end pyzmq's thread."""

    def __init__(self, authorised: Authorised, roles: frozenset[KeyRole], told: set[tuple[str, str]]) -> None:
        self._authorised, self._roles, self._told = authorised, roles, told

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the owner of a public key may connect."""
        public = key.decode()
        role = self._authorised.role_of(public)
        if role is None:
            self._authorised.look(unless_within_s=LOOK_AGAIN_S)
            role = self._authorised.role_of(public)
        if role in self._roles:
            return True
        whose = self._authorised.name_of(public) or "a stranger"
        if (public, whose) not in self._told and len(self._told) < MAX_TOLD:
            self._told.add((public, whose))
            why = "is not authorised" if role is None else f"is for a {role.value}, which has no business here"
            log.warning(f"a connection was refused: the key of {whose} {why}", extra=fields(public=public[:8]))
        return False


class _Zap(ThreadAuthenticator):
    """Refuses with a status that lets the client retry."""

    def _send_zap_reply(
        self, request_id: bytes, status_code: bytes, status_text: bytes, user_id: str = "anonymous"
    ) -> None:
        # After pyzmq's 400, libzmq's client never reconnects, though its key may be authorised by then.
        super()._send_zap_reply(request_id, b"300" if status_code == b"400" else status_code, status_text, user_id)


class Authentication:
    """Checks the handshakes with every socket of one ZeroMQ context, while it is entered.

    Enter it before a socket with a certificate is bound: without it no client is accepted. Exit it before the context.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], authorised: Authorised) -> None:
        self.authorised = authorised
        self._zap = _Zap(context)
        told: set[tuple[str, str]] = set()
        for domain, roles in MAY_CONNECT.items():
            self._zap.configure_curve_callback(domain, _Judge(authorised, roles, told))
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, name="keys", daemon=True)

    def __enter__(self) -> Authentication:
        self._zap.start()
        self._looking.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._over.set()
        self._looking.join()
        self._zap.stop()

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            self.authorised.look()
