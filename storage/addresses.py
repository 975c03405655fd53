"""Where the ledger's server is, as `--redis` says it.

    redis://…  rediss://…  unix://…                     one server; understood by the client's library
    sentinel://[USER][:PASSWORD@]HOST[:PORT],…/SERVICE[/DATABASE]
                                                        the primary of SERVICE, whom those sentinels name

User and password are those of the servers. Sentinels that want a password are given it by `?sentinel_password=…`. What
a URL cannot hold as it is, is percent-encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from protocol.errors import UsageError

SCHEME: Final = "sentinel://"
FORM: Final = "sentinel://HOST[:PORT],HOST[:PORT]/SERVICE"
SENTINEL_PORT: Final = 26379
MOST_DATABASES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """A service and the sentinels that know its primary. Passwords are not shown."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        places = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.sentinels)
        return f"{', '.join(places)}"


def sentinel_address(url: str) -> SentinelAddress | None:
    """The address that a sentinel URL says; None for a URL of another kind. Raises UsageError."""
    if not url.startswith(SCHEME):
        return None
    rest, _, query = url.removeprefix(SCHEME).partition("?")
    network, _, path = rest.partition("/")
    identity, _, places = network.rpartition("@")
    username, _, password = identity.partition(":")
    service, _, database = path.partition("/")
    if not service:
        raise UsageError(f"--redis must name the service that the sentinels watch: {FORM}")
    if database and not (database.isascii() and database.isdecimal() and int(database) < MOST_DATABASES):
        raise UsageError(f"--redis must end with the number of a database, or with the service: not with {database!r}")
    return SentinelAddress(
        tuple(_place(place) for place in places.split(",")),
        unquote(service),
        int(database or 0),
        unquote(username) or None,
        unquote(password) or None,
        _sentinel_password(query),
    )


def place_of(url: str) -> str:
    """Where a URL leads, for messages: without its password."""
    address = sentinel_address(url)
    if address is not None:
        return f"the service {address.service!r}"
    parts = urlsplit(url)
    return parts.hostname or parts.path


def _place(text: str) -> tuple[str, int]:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise UsageError(
                f"--redis holds {text!r}, which is no sentinel's HOST:PORT: an IPv6 address is [ADDRESS]:PORT"
            )
        port = port[1:]
    elif text.count(":") > 1:
        raise UsageError(f"--redis holds {text!r}: write an IPv6 address in brackets, [ADDRESS]:PORT")
    else:
        host, _, port = text.partition(":")
    if not host:
        raise UsageError(f"--redis must name each sentinel by its host: {FORM}")
    if not port:
        return host, SENTINEL_PORT
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise UsageError(f"--redis holds {text!r}: the port of a sentinel is a number from 1 to 65535")
    return host, int(port)


def _sentinel_password(query: str) -> str | None:
    said = dict(parse_qsl(query, keep_blank_values=True))
    password = said.pop("sentinel_password", None)
    if said:
        raise UsageError(f"--redis may say ?sentinel_password=… of sentinels, and nothing like {min(said)!r}")
    return password or None
