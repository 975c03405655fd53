"""The address of the ledger's server, as `--redis` gives it.

    redis://[USER][:PASSWORD@]HOST[:PORT][/DATABASE]    one server; rediss:// with TLS, of which ?ssl_ca_certs=FILE,
                                                        ssl_certfile, ssl_keyfile, ssl_cert_reqs (none, optional,
                                                        required) and ssl_check_hostname (true, false) may be set
    unix://[USER][:PASSWORD@]PATH[?db=DATABASE]
    sentinel://[USER][:PASSWORD@]HOST[:PORT],…/SERVICE[/DATABASE]
                                                        the primary of SERVICE, which those sentinels name

User and password are those of the servers. The password of the sentinels, if any, is `?sentinel_password=…`. Characters
that a URL cannot hold are percent-encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from protocol.errors import UsageError
from protocol.numbers import MAX_PORT, whole_number

SCHEME: Final = "sentinel://"
FORM: Final = "sentinel://HOST[:PORT],HOST[:PORT]/SERVICE"
SENTINEL_PORT: Final = 26379
MAX_DATABASES: Final = 1 << 20

_OF_ALL: Final = frozenset({"db", "username", "password"})
_OF_TLS: Final = _OF_ALL | {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
_WORDS: Final = {"ssl_cert_reqs": ("none", "optional", "required"), "ssl_check_hostname": ("true", "false")}


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
    """The address in a sentinel URL; None for a URL of another kind. Raises UsageError."""
    if not url.startswith(SCHEME):
        return None
    rest, _, query = url.removeprefix(SCHEME).partition("?")
    network, _, path = rest.partition("/")
    identity, _, places = network.rpartition("@")
    username, _, password = identity.partition(":")
    _require_password(identity, query)
    service, _, database = path.partition("/")
    if not service:
        raise UsageError(f"--redis must name the service that the sentinels watch: {FORM}")
    if database and not _is_database(database):
        raise UsageError(f"--redis must end with the number of a database, or with the service: not with {database!r}")
    return SentinelAddress(
        tuple(_place(place) for place in places.split(",")),
        unquote(service),
        int(database or 0),
        unquote(username) or None,
        unquote(password) or None,
        _sentinel_password(query),
    )


def require_server(url: str) -> None:
    """Refuse the URL of a single server with options or a host that the ledger's connections would fail on: the client
    library takes any of its options from a URL, and detects an invalid host when it connects. Raises UsageError."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"--redis cannot be understood: {error}") from error
    _require_password(parts.netloc.rpartition("@")[0], parts.query)
    known = _OF_TLS if parts.scheme == "rediss" else _OF_ALL
    database = ""
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise UsageError(f"--redis may say {', '.join(sorted(known))} behind a question mark, and not {name!r}")
        if value not in _WORDS.get(name, (value,)):
            raise UsageError(f"--redis must say {name} as {' or '.join(_WORDS[name])}, not as {value!r}")
        database = value if name == "db" else database
    if parts.scheme != "unix":
        _require_host(host)
        database = database or parts.path.strip("/")
    if database and not _is_database(database):
        raise UsageError(f"--redis must name its database by a number, not by {database!r}")


def place_of(url: str) -> str:
    """The target of a URL, for messages, without its password."""
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
    _require_host(host)
    if not port:
        return host, SENTINEL_PORT
    number = whole_number(port, MAX_PORT)
    if not number:
        raise UsageError(f"--redis holds {text!r}: the port of a sentinel is a number from 1 to 65535")
    return host, number


def _is_database(text: str) -> bool:
    return whole_number(text, MAX_DATABASES - 1) is not None


def _require_password(identity: str, query: str) -> None:
    """An empty password is refused: its user meant to give one, and would connect without it unknowingly."""
    said = parse_qsl(query, keep_blank_values=True)
    empty = ":" in identity and identity.endswith(":")
    if empty or any(not value for name, value in said if name in ("password", "sentinel_password")):
        raise UsageError("--redis has an empty password: write it, better in TMATIC_REDIS, or leave out its place")


def _require_host(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise UsageError(f"--redis names the host {host[:80]!r}, and no host is named like that: {error}") from error


def _sentinel_password(query: str) -> str | None:
    said = dict(parse_qsl(query, keep_blank_values=True))
    password = said.pop("sentinel_password", None)
    if said:
        raise UsageError(f"--redis may say ?sentinel_password=… of sentinels, and nothing like {min(said)!r}")
    return password or None
