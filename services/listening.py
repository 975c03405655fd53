"""Where clients reach a service: the address it listens on, and the host name and path of a reverse proxy before it.

A proxy has its own host name, and may forward requests under a base path, with that path or stripped of it. Both must
be configured here: beyond its own addresses, a service accepts only names that were configured (`services.http.names`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from protocol.errors import UsageError
from protocol.transport.addresses import is_host
from protocol.transport.endpoints import bare

Command = TypeVar("Command", bound=Callable[..., Any])

_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+"
_BASE: Final = re.compile(f"(?:/{_SEGMENT})*/?")
MAX_BASE_LENGTH: Final = 200
"""Characters."""


@dataclass(frozen=True, slots=True)
class Listening:
    """`names` are further host names that requests may use, without brackets; `base_path` is "", or begins with a slash
    and does not end with one."""

    address: str
    names: tuple[str, ...] = ()
    base_path: str = ""


def base_path(text: str) -> str:
    """A base path, normalised: `/crawl` for `/crawl/`, "" for `/`. Raises UsageError."""
    if len(text) > MAX_BASE_LENGTH or not _BASE.fullmatch(text):
        raise UsageError(
            f"--base-path must be a path such as /crawl, of letters, digits, dots, dashes, tildes and underscores, "
            f"not {text[:80]!r}"
        )
    return text.rstrip("/")


def host_name(text: str) -> str:
    """A host as browsers send it: lower case, non-ASCII characters IDNA-encoded, no brackets. Raises UsageError."""
    wrong = f"--name must be a host such as crawl.example.org or 192.0.2.7, without scheme and port, not {text[:80]!r}"
    if not is_host(text):
        raise UsageError(wrong)
    try:
        return bare(text).removesuffix(".").lower().encode("idna").decode()
    except UnicodeError as error:
        raise UsageError(wrong) from error


def listening_options(beyond: str) -> Callable[[Command], Command]:
    """Adds `--listen`, `--name` and `--base-path` to a click command, which gets them as one argument, `listening`.
    `beyond` says what an address that other machines can reach entails."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*args: Any, listen: str, names: tuple[str, ...], base: str, **kwargs: Any) -> Any:
            listening = Listening(bare(listen), tuple(map(host_name, names)), base_path(base))
            return command(*args, listening=listening, **kwargs)

        decorated: Any = run
        decorated = click.option(
            "--base-path",
            "base",
            default="",
            metavar="PATH",
            help="The path under which a proxy before it shows it, for instance /crawl. The proxy may take it off.",
        )(decorated)
        decorated = click.option(
            "--name",
            "names",
            multiple=True,
            metavar="HOST",
            help="A further name under which it may be asked, for instance that of the proxy before it. May be said "
            "again.",
        )(decorated)
        decorated = click.option(
            "--listen",
            default="127.0.0.1",
            show_default=True,
            metavar="ADDRESS",
            help=f"The address to listen on. Beyond this machine it needs --insecure, {beyond}.",
        )(decorated)
        return decorated  # type: ignore[no-any-return] # noqa: RET504

    return decorate
