"""The sources of settings: `tmatic.toml`, then the environment, then flags; the later one wins.

An unknown key is refused, since a misspelt setting that is silently ignored can waste a week of crawling. Variables
that Kubernetes adds to every environment are ignored (`protocol.settings.service_links`).
"""

from __future__ import annotations

import difflib
import functools
import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from protocol.errors import UsageError
from protocol.settings.completion import PATH, ChoiceOf
from protocol.settings.service_links import is_service_link
from protocol.settings.setting import MAX_TEXT_LENGTH, PREFIX, SettingRow
from protocol.settings.settings import TABLE, Settings
from protocol.transport.http_routes import holds_password

FILE: Final = "tmatic.toml"
MAX_FILE_BYTES: Final = 1 << 20
"""Bytes."""
MARK: Final = "\ufeff"
"""The byte order mark that some editors put before a text."""

ORIGINALS: Final = {row.original: row for row in TABLE.values() if row.original}

Command = TypeVar("Command", bound=Callable[..., Any])


def configured(
    flags: Mapping[str, object] | None = None,
    *,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The effective settings.

    `flags` has texts by the settings' names; None means that the flag was not given. `config` is the file to read;
    without it `tmatic.toml` is read if the current directory has one. `environment` is the process' own by default.
    Raises UsageError, which names the file and key, the variable or the flag, and says what is allowed.
    """
    values = _from_file(config) | _from_environment(os.environ if environment is None else environment)
    for name, raw in (flags or {}).items():
        if raw is not None:
            values[name] = _parsed(TABLE[name], raw, TABLE[name].flag)
            if TABLE[name].secret and any(map(holds_password, values[name])):
                raise UsageError(
                    f"{TABLE[name].flag} holds a password, and others on this machine can read command lines: say it "
                    f"by {TABLE[name].variable}, or by {name} in {FILE}"
                )
    token_file = values.get("bearer_token_file")
    if token_file:
        if values.get("bearer_token"):
            raise UsageError("bearer_token and bearer_token_file are both set: keep one")
        values["bearer_token"] = _parsed(
            TABLE["bearer_token"], _text(token_file, MAX_TEXT_LENGTH), f"what {token_file} holds"
        )
    return Settings(**values)


def _parsed(row: SettingRow, raw: object, place: str) -> Any:
    """The value of a setting. Line ends and a byte order mark around a secret are removed, as files and commands add
    them; an empty secret is refused, since its user does not mean to go without. Raises UsageError."""
    if row.secret and isinstance(raw, str):
        raw = raw.strip().removeprefix(MARK).strip()
        if not raw:
            raise UsageError(f"{place} is empty, and {row.name} must not be: give it a value, or leave it out")
    return row.parse(raw, place)


def as_environment(settings: Settings, surroundings: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a process reads exactly these settings, whatever `surroundings` contains about them.

    Other users can read command lines, but not environments, so secrets are passed this way.
    """
    said = {name: value for name, value in surroundings.items() if not name.startswith(PREFIX)}
    for row in TABLE.values():
        value = getattr(settings, row.name)
        if not row.secret:
            said[row.variable] = row.shown(value)
        elif value:
            said[row.variable] = value if isinstance(value, str) else ",".join(value)
    if settings.bearer_token_file is not None:
        said.pop(TABLE["bearer_token"].variable, None)  # it was read from there, and is read from there again
    return said


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Gives a click command the flags of these settings and `--config`.

    The command gets them all as one argument, `settings`, read from all sources.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*args: Any, config: str | None, **kwargs: Any) -> Any:
            flags = {name: kwargs.pop(name) for name in names if TABLE[name].flag}
            flags = {name: list(raw) or None if isinstance(raw, tuple) else raw for name, raw in flags.items()}
            return command(*args, settings=configured(flags, config=Path(config) if config else None), **kwargs)

        decorated: Any = run
        config_help = f"The file of settings.  [default: {FILE}, if the current directory has one]"
        decorated = click.option("--config", metavar="FILE", type=PATH, help=config_help)(decorated)
        for name in reversed(names):
            if TABLE[name].flag:
                decorated = _option(TABLE[name])(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _option(row: SettingRow) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    notes = [f"default: {row.shown(row.default)}"] if row.shown(row.default) else []
    if row.unit:
        notes.insert(0, f"in {row.unit}")
    text = row.help + (f"  [{'; '.join(notes)}]" if notes else "")
    if row.kind is bool:
        return click.option(f"{row.flag}/--no-{row.flag[2:]}", row.name, default=None, help=text)
    kind: click.ParamType[Any] = click.UNPROCESSED
    metavar = {int: "N", float: "N"}.get(row.kind, "TEXT")
    if row.choices:
        kind, metavar = ChoiceOf(row.choices), "|".join(row.choices)
    elif row.kind in (Path, Path | None):
        kind, metavar = PATH, "PATH"
    return click.option(row.flag, row.name, metavar=metavar, multiple=row.kind == tuple[str, ...], type=kind, help=text)


def _from_file(config: Path | None) -> dict[str, Any]:
    path = config or Path(FILE)
    if config is None and not os.path.lexists(path):  # a dangling link exists, and is a mistake
        return {}
    try:
        said = tomllib.loads(_text(path, MAX_FILE_BYTES))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is not a file of settings: it is nested too deeply") from error
    values: dict[str, Any] = {}
    for key, raw in said.items():
        row = _known(key, f"{path}: ", str)
        if row.name in values:
            raise UsageError(f"{path}: {row.name} and {row.original} are the same setting: keep one")
        values[row.name] = _parsed(row, raw, f"{path}: {key}")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or is_service_link(variable, environment[variable]):
            continue
        row = _known(variable.removeprefix(PREFIX).lower(), "", lambda name: PREFIX + name.upper())
        if row.name in values:
            raise UsageError(f"{row.variable} and {PREFIX}{row.original.upper()} are the same setting: keep one")
        values[row.name] = _parsed(row, environment[variable], variable)
    return values


def _known(key: str, place: str, spelt: Callable[[str], str]) -> SettingRow:
    """The row of a key, by its name or the original's. Raises UsageError, with the closest name if there is one."""
    row = TABLE.get(key) or ORIGINALS.get(key)
    if row is None:
        near = difflib.get_close_matches(key, [*TABLE, *ORIGINALS], n=1)
        hint = f"did you mean {spelt(near[0])}?" if near else "docs/settings.md lists them all"
        said = spelt(key)[:80]
        raise UsageError(f"{place}there is no setting {said if said.isprintable() else repr(said)}; {hint}")
    return row


def _text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes. Anything but a regular file is refused: a pipe may block for ever,
    and child processes read it again."""
    try:
        if path != Path(os.devnull) and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a file")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise UsageError(f"{path} is too large: at most {most} bytes are read")
    try:
        return content.decode().removeprefix(MARK)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
