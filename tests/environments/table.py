"""Where people run it: each row is one environment, said as a shell would say it, and what may come of it there.

What is promised in all of them: a command works, or ends in one sentence and the right exit code; never in a traceback,
and never with a process left behind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
NOBODY = 54_321
"""A user id that has no name."""
NOWHERE = "http://127.0.0.1:9"
"""A proxy that nobody is."""
SMALL = ("--port", "0", "--workers", "1", "--emulator", "--emulator-options")
"""A small crawl of an emulated service, whose options come next."""
TARGETS = "ziele-\udce9.txt"
"""A name that is no UTF-8, as one of Latin-1 is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One environment. `variables` are added to the environment, None taken from it; `before` is what a shell does
    before it becomes the command, and `streams` where it sends it."""

    name: str
    variables: Mapping[str, str | None] = field(default_factory=dict)
    before: str = ""
    streams: str = ""
    printed: int = 0
    """The exit code of a command that works and prints."""
    refused: str = ""
    """Why a crawl with relative names cannot be made there: a part of the one sentence that says so."""
    crawls: bool = False
    """Whether a whole crawl is told of the row in the suite, too, and not in the soak alone."""
    crawlable: bool = True
    """Whether a crawl can be tried at all: libfaketime 0.9 has every `sleep` of Python 3.11 and later refused."""
    telling: bool = True
    """Whether what a command says can be seen."""
    lacks: str = ""
    """What this machine has not, without which the row cannot be."""
    root: bool = False

    def __str__(self) -> str:
        return self.name


def _faked(clock: str) -> dict[str, str | None]:
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"@{clock}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = {"en_US.ISO-8859-1": "ISO-8859-1", "zh_CN.GBK": "GBK", "ja_JP.EUC-JP": "EUC-JP"}
"""Those that are built for these tests, and their character maps."""
NO_LOCALES = (
    ""
    if shutil.which("localedef") and Path("/usr/share/i18n/charmaps/GBK.gz").exists()
    else ("the sources of locales: apt-get install locales")
)
NO_FAKETIME = "" if FAKETIME else "a clock that can be set: apt-get install faketime"

ROWS = (
    Row("as it is", crawls=True),
    Row("locale C", {"LC_ALL": "C"}),
    Row("locale POSIX, in ASCII", {"LC_ALL": "POSIX", **NO_UTF8}, crawls=True),
    Row("locale of an unknown name", {"LC_ALL": "xx_YY.UTF-9", "LANG": "xx"}),
    Row("locale Latin-1", {"LC_ALL": "en_US.ISO-8859-1", **NO_UTF8}, lacks=NO_LOCALES),
    Row("locale GBK", {"LC_ALL": "zh_CN.GBK", **NO_UTF8}, lacks=NO_LOCALES, crawls=True),
    Row("locale EUC-JP", {"LC_ALL": "ja_JP.EUC-JP", **NO_UTF8}, lacks=NO_LOCALES),
    Row("no locale at all", {"LC_ALL": None, "LANG": None, "PYTHONUTF8": "0"}),
    Row("output in ASCII", {"PYTHONIOENCODING": "ascii"}),
    Row("output closed", streams=">&-", crawls=True),
    Row("output full", streams=">/dev/full", printed=1, crawls=True),
    Row("output unread", streams=">&{unread}", printed=141),
    Row("errors closed", streams="2>&-", telling=False, crawls=True),
    Row("errors full", streams="2>/dev/full", telling=False, crawls=True),
    Row("errors unread", streams="2>&{unread}", telling=False),
    Row("all streams closed", streams="<&- >&- 2>&-", telling=False, crawls=True),
    Row("input closed", streams="<&-"),
    Row("a folder of strangers", before="cd strangers", crawls=True),
    Row("no home", {"HOME": None, "XDG_CACHE_HOME": None}),
    Row("a user without a name", {"HOME": None, "USER": None, "LOGNAME": None}, "nobody", root=True, crawls=True),
    Row("umask 077", before="umask 077"),
    Row("umask 000", before="umask 000"),
    Row("a folder that takes no file", before="cd /proc", refused="cannot", crawls=True),
    Row(
        "a folder that was removed",
        before="mkdir gone$$ && cd gone$$ && rmdir ../gone$$",
        refused="No such",
        crawls=True,
    ),
    Row("temporary files not allowed", {"TMPDIR": "/proc"}),
    Row("64 descriptors", before="ulimit -n 64", crawls=True),
    Row("a clock before 2000", _faked("1999-12-31 23:59:58"), lacks=NO_FAKETIME, crawlable=False),
    Row("a clock after 2038", _faked("2040-02-29 12:00:00"), lacks=NO_FAKETIME, crawlable=False),
    Row("a dumb terminal", {"TERM": "dumb", "COLUMNS": "1", "LINES": "1"}),
    Row("no terminal's name, no colour", {"TERM": None, "NO_COLOR": "1"}),
    Row("a proxy in the environment", dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), NOWHERE)),
    Row("a library to preload that is missing", {"LD_PRELOAD": "/missing/lib.so"}),
    Row("no docstrings, no assertions", {"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"}, crawls=True),
    Row("warnings are errors", {"PYTHONWARNINGS": "error,ignore::ResourceWarning"}, crawls=True),
    Row("a variable that is no text", {"CAF\udce9": "\udcff", "LC_TIME": "\udcff"}),
)


def cases(some: tuple[Row, ...]) -> list[object]:
    """The rows for `pytest.mark.parametrize`: what only root can make is marked so, what cannot be had says so."""
    told: list[object] = []
    for row in some:
        marks = [pytest.mark.root] if row.root else []
        marks += [pytest.mark.skip(f"this machine lacks {row.lacks}")] if row.lacks else []
        told.append(pytest.param(row, id=row.name, marks=marks))
    return told


def environment(row: Row, locales: Path) -> dict[str, str]:
    """The environment of a process in a row."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TMATIC_", "PYTHON"))}
    said: dict[str, str | None] = {**own, "LC_ALL": "C.UTF-8", "LOCPATH": str(locales), **row.variables}
    return {name: value for name, value in said.items() if value is not None}
