"""One setting: its allowed values and their meaning. A value is checked in the same way whatever its source."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from protocol.errors import UsageError
from protocol.text import without_secrets

T = TypeVar("T")

BOOLEANS: Final[dict[object, bool]] = dict.fromkeys((True, "yes", "true", "on", "1"), True) | dict.fromkeys(
    (False, "no", "false", "off", "0"), False
)

PREFIX: Final = "TMATIC_"
"""The prefix of every setting's name in the environment."""
MAX_TEXT_LENGTH: Final = 4096
"""Characters in one value; also bytes in a file that holds a secret."""


_FOREIGN: Final = re.compile("[\udc80-\udcff]")
"""The surrogates for a byte that the locale cannot decode (PEP 383)."""


@dataclass(frozen=True, slots=True)
class Form:
    """The required format of a text: as words that follow 'must be', and as the equivalent pattern.

    `holds` checks a non-empty text that matches, where a pattern is not sufficient; `kept` converts equivalent forms
    to one.
    """

    words: str
    pattern: str
    holds: Callable[[str], bool] = bool
    kept: Callable[[str], str] = str

    def fits(self, text: str) -> bool:
        """Whether a text has this format."""
        return re.fullmatch(self.pattern, text, re.ASCII) is not None and (not text or self.holds(text))


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting. `kind` is the Python type; `least` and `most` are both allowed; `floors` read it."""

    name: str
    kind: Any
    default: Any
    help: str
    floors: tuple[str, ...]
    unit: str = ""
    original: str = ""
    flag: str = ""
    choices: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    form: Form | None = None
    secret: bool = False

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def allowed(self) -> str:
        """The allowed values, as words that follow 'must be'."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.form:
            return f"a list of {self.form.words}" if self.kind == tuple[str, ...] else self.form.words
        if self.kind is bool:
            return "yes or no"
        if self.kind in (int, float):
            noun = "a whole number" if self.kind is int else "a number"
            of = f" of {self.unit}" if self.unit else ""
            most = f"{self.most:.0f}" if math.isfinite(self.most) else "any"
            return f"{noun}{of} from {self.least:g} to {most}"
        if self.kind == tuple[str, ...]:
            return "a list of texts, with commas between them where there are no lists"
        return "a path" if self.kind in (Path, Path | None) else "a text"

    def shown(self, value: Any) -> str:
        """A value as users write it; a secret is not shown."""
        if self.secret and value:
            return "(secret)"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return ",".join(value)
        return "" if value is None else str(value)

    def parse(self, raw: object, place: str) -> Any:
        """The value that `raw` stands for, of type `kind`. `raw` is a text or a parsed TOML value.

        Raises UsageError, which names `place` (a key of a file, a variable, a flag) and says what is allowed.
        """
        try:
            value = self._read(raw)
        except ValueError:
            right = False
        else:
            right = not self.choices or value in self.choices
            if self.kind in (int, float):
                right = self.least <= value <= self.most
            if self.form:
                parts = value if isinstance(value, tuple) else (value,)
                right = all(self.form.fits(part) for part in parts)
        if not right:
            said = "" if self.secret else f", not {without_secrets(str(raw))[:80]!r}"
            raise UsageError(f"{place} must be {self.allowed}{said}")
        if self.form:
            return tuple(map(self.form.kept, value)) if isinstance(value, tuple) else self.form.kept(value)
        return value

    def _read(self, raw: object) -> Any:
        """The value, checked by its type only. Raises ValueError."""
        if self.kind is bool:
            word = raw if isinstance(raw, bool) else _text(raw).lower()
            if word not in BOOLEANS:
                raise ValueError
            return BOOLEANS[word]
        if isinstance(raw, bool):
            raise ValueError
        if self.kind is int:
            if isinstance(raw, str) and not re.fullmatch(r"[+-]?[0-9]{1,18}", raw):
                raise ValueError
            return int(raw) if isinstance(raw, str) else _typed(raw, int)
        if self.kind is float:
            return _finite(raw if isinstance(raw, int | float) else _text(raw))
        if self.kind == tuple[str, ...]:
            parts = raw.split(",") if isinstance(raw, str) else _typed(raw, list)
            return tuple(part for part in (_text(part).strip() for part in parts) if part)
        text = _name(raw) if self.kind in (Path, Path | None) else _text(raw)
        if self.kind == Path | None and not text:
            return None
        if self.kind in (Path, Path | None):
            if not text:
                raise ValueError
            return Path(os.path.expanduser(text))
        return text


def _typed(raw: object, kind: type[T]) -> T:
    if not isinstance(raw, kind):
        raise ValueError
    return raw


def _text(raw: object) -> str:
    text = _typed(raw, str)
    if len(text) > MAX_TEXT_LENGTH or not text.isprintable():
        raise ValueError
    return text


def _name(raw: object) -> str:
    """The name of a file, which is bytes: the locale may not be able to decode some of them."""
    text = _typed(raw, str)
    _text(_FOREIGN.sub("", text))
    return text


def _finite(raw: float | str) -> float:
    try:
        value = float(raw)
    except OverflowError as error:
        raise ValueError from error
    if not math.isfinite(value):
        raise ValueError
    return value


def setting(
    default: Any,
    floors: str,
    help: str,
    *,
    unit: str = "",
    original: str = "",
    flag: str = "",
    choices: tuple[str, ...] = (),
    least: float = -math.inf,
    most: float = math.inf,
    form: Form | None = None,
    secret: bool = False,
) -> Any:
    """The field of `Settings` that becomes a row. `floors` are separated by spaces."""
    said = {
        "help": help,
        "floors": tuple(floors.split()),
        "unit": unit,
        "original": original,
        "flag": flag,
        "choices": choices,
        "least": least,
        "most": most,
        "form": form,
        "secret": secret,
    }
    return field(default=default, metadata=said, repr=not secret)
