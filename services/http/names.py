"""Which host names a service accepts, and which pages are its own.

Rules:
  * Names must be known. Loopback and the bound address are; if the service listens on all interfaces, any IP address
    is, since rebinding needs a name; any other name is accepted only if it was given with `--name`.
  * A page is the service's own when its Origin is the host and port of the request's Host. A configured name may be
    that of an https proxy, so https is accepted there too; the service's own addresses accept only http.
  * The headers of proxies (X-Forwarded-Host, X-Forwarded-Proto, Forwarded) are ignored: any client can send them.
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
    """`bound` is the address on which the server listens, `further` are the additional names that were configured."""

    def __init__(self, bound: str, further: Collection[str] = ()) -> None:
        self._every = bound in _EVERY
        self._further = frozenset(_bare(name) for name in further if name)
        self._names = self._further | ({_bare(bound)} - {""})

    @property
    def local(self) -> bool:
        """Whether every name is local to this machine. With any other name, remote clients may arrive over loopback,
        through a proxy."""
        return not self._every and all(map(is_loopback, self._names))

    def known(self, header: str) -> bool:
        """Whether a Host header is a known name."""
        found = host_of(header)
        if found is None:
            return False
        host, _ = found
        return host in self._names or is_loopback(host) or (self._every and _is_address(host))

    def own_page(self, origin: str, header: str) -> bool:
        """Whether an Origin is that of one of the service's pages, requested with this Host header."""
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
    """Host and port of a Host header: lower case, without brackets; the port is None if absent. None if the header is
    not a host."""
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
    """Whether it is valid in brackets. A zone, after `%`, has no meaning on another machine."""
    return ":" in host and "%" not in host and _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
