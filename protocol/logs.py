"""How every command logs: one line of text or one JSON object, and never a secret.

A message says what happened; the objects it concerns are separate fields, so that both forms can show them:

    log.info("adopted the embedded Valkey", extra=fields(pid=pid))

Text from outside cannot forge a line: non-printable characters are escaped, and the length of a line is limited.
A log that cannot be written does not end a process: that is reported once, and the work goes on.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

from protocol.errors import UsageError
from protocol.settings.service_links import service_links
from protocol.settings.setting import PREFIX
from protocol.settings.settings import Settings
from protocol.streams import Dropping, is_screen
from protocol.text import plain

log = logging.getLogger(__name__)

MAX_LINE_LENGTH: Final = 8_192
"""Characters of a message with its fields; a traceback may follow."""

MAX_FILE_BYTES: Final = 16 << 20
"""Bytes of a log file before it is rotated."""

OLD_FILES: Final = 5
HIDDEN: Final = "***"

SECRETS: Final = re.compile(
    r"(?P<url>[a-z]://[^/\s@]*:)[^/\s@]+(?=@)"
    r"|(?P<bearer>bearer\s+)[\w.~+/%=-]+"
    r"|(?P<key>(?:oauth_token|oauth_signature|access_token|bearer_token|client_secret|password)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s&,\"']+",
    re.IGNORECASE,
)
"""What looks like a password in a URL, a token in a header, or a credential in a form or an object."""

COLOURS: Final = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}
"""Terminal colours by level, as the numbers of an SGR sequence; other levels stay plain."""


def fields(**about: object) -> dict[str, Any]:
    """The fields of a message, for the `extra` of a logging call."""
    return {"fields": about}


def set_up(command: str, settings: Settings, stream: TextIO | None = None) -> None:
    """Log to `stream` (standard error by default), and to `COMMAND.log` in the log directory if there is one.

    `command` names the process, and must be a valid file name. A second call starts afresh.
    Raises UsageError when the log directory cannot be used.
    """
    stream = stream or sys.stderr
    secrets = tuple(filter(None, [settings.bearer_token]))
    colour = is_screen(stream) and "NO_COLOR" not in os.environ
    in_json = settings.log_format == "json"
    handlers: list[logging.Handler] = [_Lasting(stream)]
    handlers[0].setFormatter(JsonLines(secrets) if in_json else TextLines(secrets, colour=colour))
    if settings.log_directory is not None:
        try:
            settings.log_directory.mkdir(parents=True, exist_ok=True)
            path = settings.log_directory / f"{command}.log"
            handlers.append(_File(path, handlers[0]))
        except OSError as error:
            raise UsageError(f"log_directory {settings.log_directory} cannot be used: {error.strerror}") from error
        handlers[1].setFormatter(JsonLines(secrets) if in_json else TextLines(secrets))
    logging.basicConfig(level=settings.log_level.upper(), handlers=handlers, force=True)
    logging.captureWarnings(True)
    # It logs every retry, which our own messages describe better.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if links := service_links(os.environ, PREFIX):
        log.debug(
            "variables of Kubernetes services are no settings and are passed over", extra=fields(names=",".join(links))
        )


class _Lasting(logging.StreamHandler[TextIO]):
    """A stream that may fail silently: `protocol/streams.py` says why, for standard error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A failed write cannot be reported to the same stream. Any other failure is a bug, and shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _File(RotatingFileHandler):
    """A rotating log file. The first line that cannot be written is reported in the `other` log; the next one after a
    line was written in between. Where rotation fails the file grows, and rotation is retried, and the failure reported
    again, when it has grown by as much once more."""

    def __init__(self, path: Path, other: logging.Handler) -> None:
        self._other, self._fails, self._failed = other, False, False
        super().__init__(path, maxBytes=MAX_FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8")

    def _open(self) -> io.TextIOWrapper:
        file = Dropping(self.baseFilename, "ab", self._tell)
        return io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        self._failed = False
        super().emit(record)
        self._fails = self._failed

    def doRollover(self) -> None:
        """Rotate, or continue with the old file."""
        try:
            super().doRollover()
            self.maxBytes = MAX_FILE_BYTES
        except OSError as error:
            self.maxBytes = os.path.getsize(self.baseFilename) + MAX_FILE_BYTES
            self._say(f"the log {self.baseFilename} cannot be renamed: {error.strerror or error}; it grows instead")

    def handleError(self, record: logging.LogRecord) -> None:
        """A failure other than a write: opening the file."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        else:
            self._failed = True
            if not self._fails:
                self._tell(error)

    def _tell(self, error: OSError) -> None:
        self._say(
            f"the log {self.baseFilename} cannot be written: {error.strerror or error}; the work goes on without it"
        )

    def _say(self, words: str) -> None:
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, words, None, None)
        self._other.handle(record)


class _Lines(logging.Formatter):
    """The common part of both forms: hiding secrets, and escaping non-printable characters."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def _hidden(self, text: str) -> str:
        text = plain(text)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return SECRETS.sub(lambda found: "".join(filter(None, found.groups())) + HIDDEN, text)

    def _trace(self, record: logging.LogRecord) -> str:
        return self._hidden(self.formatException(record.exc_info)) if record.exc_info else ""


class TextLines(_Lines):
    """`2026-11-23 21:40:31.123 INFO message key=value`, in local time."""

    def __init__(self, secrets: tuple[str, ...] = (), *, colour: bool = False) -> None:
        super().__init__(secrets)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        about = "".join(f" {key}={_value(value)}" for key, value in _about(record).items())
        words = _printable(self._hidden(record.getMessage() + about)[:MAX_LINE_LENGTH])
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        line = f"{clock}.{int(record.msecs):03d} {record.levelname} {words}"
        if self._colour and record.levelno in COLOURS:
            line = f"\x1b[{COLOURS[record.levelno]}m{line}\x1b[0m"
        trace = self._trace(record)
        return f"{line}\n{trace}" if trace else line


class JsonLines(_Lines):
    """One object per line: `time` (UTC), `level`, `logger`, `message`, `process`, its fields, and `trace`."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {key: self._plain(value) for key, value in _about(record).items()}
        said |= {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": self._hidden(record.getMessage())[:MAX_LINE_LENGTH],
        }
        if trace := self._trace(record):
            said["trace"] = trace
        return json.dumps(said)

    def _plain(self, value: object) -> object:
        return value if isinstance(value, int | float | None) else self._hidden(str(value))[:MAX_LINE_LENGTH]


def _about(record: logging.LogRecord) -> dict[str, object]:
    return dict(getattr(record, "fields", {}))


def _value(value: object) -> str:
    """A value as it follows `key=`: quoted if it would not be read as one word."""
    text = str(value)
    return text if text and not re.search(r"[\s\"=]", text) else json.dumps(text, ensure_ascii=False)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
