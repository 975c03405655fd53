"""Under which names a service may be asked, and which pages are its own.

Rules:
  * A name must be named. Loopback and the bound address are ours; of a service that listens everywhere each address is,
    since rebinding needs a name; any other name counts only when somebody said `--name`.
  * A page is ours when its Origin is the host and port of the request's Host. Behind a name that was named there may be
    a proxy that speaks https, so https is taken there; under our own addresses we speak http, and nothing else is ours.
  * What a proxy could say of itself (X-Forwarded-Host, X-Forwarded-Proto, Forwarded) is not read: anybody can send it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from protocol.numbers import MAX_PORT, whole_number
from protocol.transport.exposure import is_loopback

_EVERY: Final = frozenset({"", "0.0.0.0", "::", "*"})
_PORTS: Final = {"http": 80, "https": 443}


class Names:
    """`bound` is the address on which the server listens, `further` are the names that were named beside it."""

    def __init__(self, bound: str, further: Collection[str] = ()) -> None:
        self._every = bound in _EVERY
        self._further = frozenset(_bare(name) for name in further if name)
        self._names = self._further | ({_bare(bound)} - {""})

    @property
    def local(self) -> bool:
        """Whether every name is of this machine alone. Who has another one may be asked by strangers over loopback: a
        proxy brings them in."""
        return not self._every and all(map(is_loopback, self._names))

    def known(self, header: str) -> bool:
        """Whether a Host header is ours."""
        found = host_of(header)
        if found is None:
            return False
        host, _ = found
        return host in self._names or is_loopback(host) or (self._every and _is_address(host))

    def own_page(self, origin: str, header: str) -> bool:
        """Whether an Origin is that of a page of ours, which was asked for under this Host header."""
        try:
            parts = urlsplit(origin)
            scheme, page = parts.scheme.lower(), host_of(parts.netloc)
        except ValueError:
            return False
        asked = host_of(header)
        if page is None or asked is None or origin.lower() != f"{scheme}://{parts.netloc.lower()}":
            return False
        usual = _PORTS.get(scheme) if scheme == "http" or asked[0] in self._further else None
        return usual is not None and (page[0], page[1] or usual) == (asked[0], asked[1] or usual)


def host_of(header: str) -> tuple[str, int | None] | None:
    """Host and port of a Host header: in small letters, without brackets; the port None where there is none. None when
    it is no host."""
    header = header.strip().lower()
    if header.startswith("["):
        host, bracket, rest = header[1:].partition("]")
        if not bracket or not _is_ipv6(host) or rest[:1] not in ("", ":"):
            return None
        port = rest.removeprefix(":")
    else:
        host, _, port = header.partition(":")
    host = host.removesuffix(".")
    number = whole_number(port, MAX_PORT)
    return (host, number) if host and (number is not None or not port) else None


def _bare(name: str) -> str:
    return name.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _is_ipv6(host: str) -> bool:
    """Whether it may stand in brackets. A zone, behind `%`, means nothing to another machine."""
    return ":" in host and "%" not in host and _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
