"""The key files by which masters, workers and subscribers authenticate each other across machines.

    keys/                   mode 0700, on the machine of a master; the other master of a pair has a copy
      master.key            the masters' own key pair
      NAME.key              NAME's key pair and the masters' public key: all that NAME needs, on its machine alone
      authorised/NAME.pub   NAME's public key and role: it may connect
      revoked/NAME.pub      it may not connect

The rules: a secret is in a file that only its owner may read, and a laxer mode is refused. A file is written atomically
and never overwritten. A name is used once, so that a log from last month still identifies the key's owner.
`revoked/` takes precedence over `authorised/`, so that an outdated copy authorises no revoked key.

The keys are those of CURVE (https://rfc.zeromq.org/spec/26/), as 40 characters of Z85.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import struct
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.utils import z85

from protocol.errors import UsageError
from protocol.settings.settings import NAME

MAX_KEY_BYTES: Final = 4096
"""Bytes of a key file."""
MAX_KEYS: Final = 2_000
"""Files in `authorised/`; checking them once a second must be cheap. Workers may share one."""
MASTER: Final = "master"
"""The reserved name of the masters' key."""

_NAME: Final = re.compile(NAME.pattern, re.ASCII)
_KEY: Final = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}", re.ASCII)


class KeyRole(Enum):
    """The role of a key. Only master.key is a peer's: masters use it for each other, and tools for their master."""

    WORKER = "worker"
    SUBSCRIBER = "subscriber"
    PEER = "peer"


GIVEN: Final = (KeyRole.WORKER, KeyRole.SUBSCRIBER)
"""The roles for which keys are created."""


class KeyState(Enum):
    """Whether a key is authorised or revoked."""

    AUTHORISED = "authorised"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The identity of either side of a connection: a key pair, and the public key of the masters."""

    name: str
    role: KeyRole
    public: str
    secret: str = field(repr=False)
    master: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One created key, without its secret."""

    name: str
    role: KeyRole
    public: str
    made: datetime
    state: KeyState


Version = tuple[int, int, int]
"""Distinguishes a file from a later one of the same name."""


def read_certificate(path: Path) -> Certificate:
    """The certificate in a file. Raises UsageError when it is damaged, or when others than its owner may read it."""
    said = _read(path, private=True)
    try:
        role = KeyRole(said.get("role"))
        name, public, secret, master = (_text(said, word) for word in ("name", "public", "secret", "master"))
        sound = zmq.curve_public(secret.encode()).decode() == public and (role is not KeyRole.PEER or public == master)
    except (ValueError, zmq.ZMQError):
        sound = False
    if not sound:
        raise _damaged(path)
    return Certificate(name, role, public, secret, master)


class Keys:
    """The keys folder of a master."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._master = folder / f"{MASTER}.key"

    @property
    def made(self) -> bool:
        """Whether there are keys. Raises UsageError when the folder cannot be read."""
        with _told(self.folder):
            return self._master.exists()

    def master(self) -> Certificate:
        """The masters' own certificate. Raises UsageError: it is missing or damaged, or others may change keys."""
        if not self.made:
            raise UsageError(f"there are no keys in {self.folder}: make some with `tmatic-master keys new NAME`")
        for folder in (self.folder, *(self._of(state) for state in KeyState)):
            with _told(folder), contextlib.suppress(FileNotFoundError):
                if folder.stat().st_mode & 0o022:
                    raise UsageError(f"{folder} says who may call, and others may change it: say chmod 700 {folder}")
        certificate = read_certificate(self._master)
        if certificate.role is not KeyRole.PEER:
            raise UsageError(f"{self._master} is not the key of a master but that of {certificate.name}")
        return certificate

    def new(self, name: str, role: KeyRole) -> Path:
        """Create the key of NAME, authorise it, and return its file. The first call creates the masters' key too.

        Raises UsageError when the name is used or invalid, or the folder cannot be written.
        """
        if not _NAME.fullmatch(name) or name == MASTER:
            raise UsageError(f"the name of a key must be {NAME.words}, and not {MASTER!r}; {name[:80]!r} is not")
        if role not in GIVEN:
            raise UsageError(f"no key is made for the role {role.value}: master.key is that of every master")
        if not zmq.has("curve"):
            raise UsageError("this build of ZeroMQ cannot encrypt: install pyzmq from its wheel")
        path = self.folder / f"{name}.key"
        with _told(self.folder):
            for folder in (self.folder, *(self._of(state) for state in KeyState)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists() or any((self._of(state) / f"{name}.pub").exists() for state in KeyState):
                raise self._used(name)
            if not self.made:
                self._make_master()
            if len(self.versions(KeyState.AUTHORISED)) >= MAX_KEYS:
                raise UsageError(f"there are {MAX_KEYS} keys in {self.folder} already: revoke some, or share one")
            public, secret = (half.decode() for half in zmq.curve_keypair())
            certificate = Certificate(name, role, public, secret, self.master().public)
            now = datetime.now(UTC).replace(microsecond=0)
            words = {"name": name, "role": role.value, "public": public}
            try:
                _create(path, _private_text(certificate))
            except FileExistsError:
                raise self._used(name) from None
            _create(self._of(KeyState.AUTHORISED) / f"{name}.pub", _toml(words) + f"made = {now.isoformat()}\n")
        return path

    def revoke(self, name: str) -> bool:
        """Revoke the key of NAME, whose holder may not connect any more; False when it was revoked already.

        Raises UsageError when there is no such key.
        """
        before, after = (self._of(state) / f"{name}.pub" for state in KeyState)
        with _told(self.folder):
            if not _NAME.fullmatch(name) or not (before.exists() or after.exists()):
                raise UsageError(f"there is no key with the name {name[:80]!r} in {self.folder}; `keys list` shows all")
            if not before.exists():
                return False
            after.parent.mkdir(mode=0o700, exist_ok=True)
            before.replace(after)
            _sync(after.parent)
            _sync(before.parent)
        return True

    def every_key(self) -> list[PublicKey]:
        """Every key created here, the authorised ones first. Raises UsageError for a damaged file."""
        revoked = self.versions(KeyState.REVOKED)
        counting = [name for name in self.versions(KeyState.AUTHORISED) if name not in revoked]
        found = [self.read(KeyState.AUTHORISED, name) for name in sorted(counting)]
        return found + [self.read(KeyState.REVOKED, name) for name in sorted(revoked)]

    def versions(self, state: KeyState) -> dict[str, Version]:
        """The names of the keys in this state, and the version of each file.

        Raises UsageError when the folder cannot be read; a missing one counts as empty.
        """
        found: dict[str, Version] = {}
        folder = self._of(state)
        with _told(folder), contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                name, dot, end = entry.name.rpartition(".")
                if (dot, end) != (".", "pub") or not _NAME.fullmatch(name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    about = entry.stat()
                    found[name] = (about.st_mtime_ns, about.st_size, about.st_ino)
        return found

    def read(self, state: KeyState, name: str) -> PublicKey:
        """One key. Raises UsageError when its file is damaged or missing."""
        path = self._of(state) / f"{name}.pub"
        said = _read(path, private=False)
        try:
            role, made, public = KeyRole(said.get("role")), said.get("made"), _text(said, "public")
            sound = _text(said, "name") == name and role in GIVEN
        except ValueError:
            raise _damaged(path) from None
        if not sound or not isinstance(made, datetime):
            raise _damaged(path)
        return PublicKey(name, role, public, made, state)

    def _of(self, state: KeyState) -> Path:
        return self.folder / state.value

    def _used(self, name: str) -> UsageError:
        return UsageError(f"there is or was a key with the name {name} in {self.folder}: choose another name")

    def _make_master(self) -> None:
        """Workers identify the masters by this key, so a second one beside theirs would be unknown to all of them."""
        # Checked again: another `keys new` may be creating it at this moment.
        if any(self.versions(state) for state in KeyState) and not self.made:
            raise UsageError(
                f"{self._master} is gone, and the keys in {self.folder} are of no use without it: restore it"
            )
        public, secret = (half.decode() for half in zmq.curve_keypair())
        with contextlib.suppress(FileExistsError):
            _create(self._master, _private_text(Certificate(MASTER, KeyRole.PEER, public, secret, public)))


def _private_text(of: Certificate) -> str:
    owner = "the masters of this crawl" if of.role is KeyRole.PEER else f"{of.role.value} {of.name}"
    words = {"name": of.name, "role": of.role.value, "public": of.public, "secret": of.secret, "master": of.master}
    return f"# The secret key of {owner}, for nobody else: mode 0600.\n" + _toml(words)


def _toml(words: dict[str, str]) -> str:
    """Names, roles and Z85 have no character that needs escaping."""
    return "".join(f'{name} = "{word}"\n' for name, word in words.items())


def _text(said: dict[str, Any], word: str) -> str:
    """A name or a key from a file. Raises ValueError when it is missing or invalid."""
    text = said.get(word)
    if not isinstance(text, str) or not (_NAME if word == "name" else _KEY).fullmatch(text):
        raise ValueError(word)
    if word != "name":
        try:
            z85.decode(text.encode())
        except struct.error as error:
            raise ValueError(word) from error
    return text


def _damaged(path: Path) -> UsageError:
    # No part of the content is shown: it may be a secret.
    return UsageError(f"{path} is not a whole key file: copy it anew, or make another with `tmatic-master keys new`")


def _read(path: Path, *, private: bool) -> dict[str, Any]:
    """The contents of a key file. Raises UsageError."""
    with _told(path):
        # Does not block if this is a pipe.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise UsageError(f"{path} is not a file")
            if private and about.st_mode & 0o077:
                raise UsageError(f"{path} is secret, and others may read it: say chmod 600 {path}")
            content = file.read(MAX_KEY_BYTES + 1)
    try:
        if len(content) > MAX_KEY_BYTES:
            raise ValueError
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise _damaged(path) from None


def _create(path: Path, text: str) -> None:
    """Write a file that must not exist yet, mode 0600. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.link(temporary, path)
    finally:
        temporary.unlink()
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn a file system error into a message about a file or a folder."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be used: {error.strerror}") from error
