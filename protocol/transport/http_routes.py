"""The HTTP route to a host: the proxy, and the CA certificates that are accepted.

Only the settings are used. Environment variables of other programs (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`) are ignored,
since the service would count a crawl differently if one machine of many used another route; `unused` reports them as
text for the user.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from protocol.errors import UsageError
from protocol.transport.addresses import is_place

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_HOST: Final = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])", re.ASCII)
_EVERY: Final = ""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `url` may hold a password and is not shown; `place` is its HOST:PORT."""

    url: str = field(repr=False)
    place: str


@dataclass(frozen=True, slots=True)
class HttpRoutes:
    """The proxies and CA files by host; the key "" is for every host."""

    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    ca_files: Mapping[str, str] = field(default_factory=dict)

    def proxy(self, url: str) -> Proxy | None:
        """The proxy through which a URL is requested, None for none."""
        return self.proxies.get(_host_of(url)) or self.proxies.get(_EVERY)

    def ca_file(self, url: str) -> str | None:
        """The file of the CA certificates for the host of a URL, None for the default ones."""
        return self.ca_files.get(_host_of(url)) or self.ca_files.get(_EVERY)


def ways_of(proxies: tuple[str, ...], ca_files: tuple[str, ...]) -> HttpRoutes:
    """The routes in the settings `proxy` and `ca_file`. Raises UsageError for an unusable CA file, and for two entries
    of one setting for the same host."""
    by_host = _by_host(proxies, "--proxy")
    files = _by_host(ca_files, "--ca-file")
    for file in dict.fromkeys(files.values()):
        _check_ca_file(file)
    return HttpRoutes(
        {host: Proxy(url, urlsplit(url).netloc.rpartition("@")[2]) for host, url in by_host.items()}, files
    )


def is_proxy(text: str) -> bool:
    """Whether it is http://[USER:PASSWORD@]HOST:PORT, perhaps with HOST= before it."""
    _, url = _parted(text)
    try:
        parts = urlsplit(url)
        whole = is_place(parts.netloc.rpartition("@")[2]) and parts.port is not None
    except ValueError:
        return False
    named = "@" not in parts.netloc or bool(parts.username and parts.password)
    return parts.scheme == "http" and whole and named and parts.path in ("", "/") and not parts.query + parts.fragment


def holds_password(text: str) -> bool:
    """Whether a value of `proxy` names a user."""
    return "@" in text


def unused(proxies: tuple[str, ...], ca_files: tuple[str, ...], environment: Mapping[str, str]) -> list[str]:
    """Messages about ignored environment variables for proxies and certificates, where no setting replaces them."""
    words = []
    for said, variables, flag in (
        (proxies, PROXY_VARIABLES, "--proxy http://HOST:PORT"),
        (ca_files, CA_VARIABLES, "--ca-file FILE"),
    ):
        names = [name for name in variables if environment.get(name) or environment.get(name.lower())]
        if names and not said:
            are = "is" if len(names) == 1 else "are"
            words.append(f"{', '.join(names)} {are} set and not used here: say {flag} if it is meant for the crawl")
    return words


def _by_host(said: tuple[str, ...], flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in said:
        host, value = _parted(text)
        if host in found:
            raise UsageError(f"{flag} is said twice for {host or 'every host'}: keep one")
        found[host] = value if flag == "--proxy" else str(Path(value).expanduser())
    return found


def _parted(text: str) -> tuple[str, str]:
    """The host before `=`, "" for none, and the value after it."""
    host, equals, value = text.partition("=")
    if equals and _HOST.fullmatch(host):
        return host.strip("[]").lower(), value
    return _EVERY, text


def _host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _check_ca_file(file: str) -> None:
    wanted = "name a file of PEM certificates (-----BEGIN CERTIFICATE-----)"
    try:
        if not Path(file).is_file() and Path(file).exists():
            raise UsageError(f"--ca-file {file} is not a file: {wanted}")
        with open(file, "rb") as opened:
            empty = not opened.read(1)
        if empty:
            raise UsageError(f"--ca-file {file} is empty: {wanted}")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError as error:  # an OSError too, and so first
        raise UsageError(f"--ca-file {file} holds no certificate that can be read: {wanted}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"--ca-file {file} cannot be read: {why}") from error
