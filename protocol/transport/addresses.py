"""Checks of addresses, so that the code that connects later finds host and port in them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from protocol.numbers import MAX_PORT, whole_number


def is_place(text: str) -> bool:
    """Whether it is HOST:PORT, with an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":")
    if not (colon and whole_number(port, MAX_PORT)):  # 0 is no port to connect to
        return False
    if host.startswith("["):
        return host.endswith("]") and _is_ipv6(host[1:-1])
    return host.isprintable() and re.fullmatch(r"[^:\s\[\]/]+", host) is not None


def is_host(text: str) -> bool:
    """Whether it is a host: a name or an address; an IPv6 address with or without brackets."""
    if text.startswith("[") or ":" in text:
        return _is_ipv6(text.removeprefix("[").removesuffix("]")) and text.startswith("[") == text.endswith("]")
    return re.fullmatch(r"[\w.-]{1,253}", text) is not None


def is_listened_on(text: str) -> bool:
    """Whether it is an address to listen on: a host, or `*` for every address."""
    return text == "*" or is_host(text)


def is_service(url: str) -> bool:
    """Whether it is an HTTP URL with a host, and with a valid port if it has one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as for its look-up
    except ValueError:
        return False
    is_host = _is_ipv6(host) if ":" in host else re.fullmatch(r"[\w.-]+", host) is not None
    return url.startswith(("http://", "https://")) and is_host and port != 0


def is_bare_service(url: str) -> bool:
    """Whether it is such a URL to which paths can be appended, and which contains no secret."""
    return is_service(url) and not any(mark in url for mark in "@?#")


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), ipaddress.IPv6Address) and "%" not in text
    except ValueError:
        return False
