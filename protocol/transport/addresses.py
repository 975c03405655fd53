"""Whether a text says where something is, so that whoever connects there later finds host and port in it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from protocol.numbers import MAX_PORT, whole_number


def is_place(text: str) -> bool:
    """Whether it is HOST:PORT, an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":")
    if not (colon and whole_number(port, MAX_PORT)):  # 0 is none to connect to
        return False
    if host.startswith("["):
        return host.endswith("]") and _is_ipv6(host[1:-1])
    return host.isprintable() and re.fullmatch(r"[^:\s\[\]/]+", host) is not None


def is_host(text: str) -> bool:
    """Whether it is a host: a name or an address, one of IPv6 with brackets or without."""
    if text.startswith("[") or ":" in text:
        return _is_ipv6(text.removeprefix("[").removesuffix("]")) and text.startswith("[") == text.endswith("]")
    return re.fullmatch(r"[\w.-]{1,253}", text) is not None


def is_listened_on(text: str) -> bool:
    """Whether it is where one may listen: a host, or `*` for every address."""
    return text == "*" or is_host(text)


def is_service(url: str) -> bool:
    """Whether it is a URL of HTTP with a host, and with a port only if that is one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as it is looked up
    except ValueError:
        return False
    is_host = _is_ipv6(host) if ":" in host else re.fullmatch(r"[\w.-]+", host) is not None
    return url.startswith(("http://", "https://")) and is_host and port != 0


def is_bare_service(url: str) -> bool:
    """Whether it is one to which paths can be added, and which holds nothing that should not be shown."""
    return is_service(url) and not any(mark in url for mark in "@?#")


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), ipaddress.IPv6Address) and "%" not in text
    except ValueError:
        return False
