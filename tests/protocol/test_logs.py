"""Logs are lines that people and programs can read, that nobody outside can forge, and that hold no secret."""

from __future__ import annotations

import errno
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.errors import UsageError
from protocol.logs import MAX_LINE_LENGTH, fields, set_up
from protocol.settings.settings import Settings

log = logging.getLogger("tests.logs")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    for handler in logging.root.handlers:
        if handler not in handlers:
            handler.close()
    logging.root.handlers, logging.root.level = handlers, level
    logging.captureWarnings(False)


def logged(settings: Settings, stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    set_up("test", settings, stream)
    return stream


def test_a_line_says_when_how_grave_what_and_about_what() -> None:
    said = logged(Settings())
    log.warning("the worker is %s", "silent", extra=fields(worker="w 1", seconds=3))
    assert said.getvalue().endswith(' WARNING the worker is silent worker="w 1" seconds=3\n')
    assert said.getvalue()[4::3].startswith("--")


def test_json_has_the_same_as_an_object() -> None:
    said = logged(Settings(log_format="json"))
    log.error("a job died", extra=fields(tries=3, why=ValueError("bad")))
    entry = json.loads(said.getvalue())
    assert {**entry, "time": "", "process": 0} == {
        "time": "",
        "process": 0,
        "level": "error",
        "logger": "tests.logs",
        "message": "a job died",
        "tries": 3,
        "why": "bad",
    }
    assert entry["time"].endswith("Z")


def test_the_least_level_is_kept() -> None:
    said = logged(Settings(log_level="warning"))
    log.info("unheard")
    assert said.getvalue() == ""


def test_colour_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    plain, terminal = logged(Settings()), Terminal()
    log.error("bad")
    assert "\x1b" not in plain.getvalue()
    logged(Settings(), terminal)
    log.error("bad")
    assert terminal.getvalue().startswith("\x1b[31m")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in logged(Settings(), Terminal()).getvalue()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in logged(Settings(), Terminal()).getvalue()


def test_words_from_outside_cannot_forge_a_line_or_fill_the_disk() -> None:
    said = logged(Settings())
    log.info("a peer said %s", "x\n2026-01-01 INFO all is well\x1b[2J")
    log.info("y" * 100_000)
    first, second = said.getvalue().splitlines()
    assert r"x\n2026-01-01 INFO all is well\x1b[2J" in first
    assert len(second) < MAX_LINE_LENGTH + 100


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "words",
    [
        "redis://me:hush@host:1/0 is away",
        "redis://:hush@host:1/0 is away",
        "Authorization: Bearer hush",
        "POST oauth_token=hush&x=1",
        '{"access_token": "hush"}',
        "the token hush itself",
    ],
)
def test_secrets_are_not_logged(form: str, words: str) -> None:
    said = logged(Settings(log_format=form, bearer_token="hush"))
    log.info("%s", words, extra=fields(about=words))
    try:
        raise ValueError(words)
    except ValueError:
        log.exception("it failed")
    assert "hush" not in said.getvalue()
    assert "***" in said.getvalue()
    assert "ValueError" in said.getvalue()


def test_what_only_looks_like_a_secret_by_its_form_is_hidden_too() -> None:
    said = logged(Settings())
    log.info("redis://me:hush@host bearer hush password=hush")
    assert "hush" not in said.getvalue()
    assert "redis://me:***@host" in said.getvalue()


def test_the_log_is_also_kept_in_its_directory(tmp_path: Path) -> None:
    logged(Settings(log_directory=tmp_path / "logs"))
    log.info("kept")
    assert (tmp_path / "logs" / "test.log").read_text().endswith(" INFO kept\n")


def test_a_log_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"log_directory .*file cannot be used: File exists"):
        logged(Settings(log_directory=tmp_path / "file"))


def test_a_log_that_cannot_be_renamed_grows_keeps_every_line_and_says_so_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocol.logs.MAX_FILE_BYTES", 1_000)
    with monkeypatch.context() as unwritable:

        def refuses(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        unwritable.setattr("os.rename", refuses)
        said = logged(Settings(log_directory=tmp_path))
        for number in range(60):
            log.info(f"line {number:03d}")
    kept = (tmp_path / "test.log").read_text(encoding="utf-8")
    assert [line[-3:] for line in kept.splitlines() if " line " in line] == [f"{n:03d}" for n in range(60)]
    told = said.getvalue().count("cannot be renamed: Permission denied; it grows instead")
    assert told == (len(kept) - 1) // 1_000 > 0
    for number in range(60):
        log.info(f"later {number:03d}")
    assert (tmp_path / "test.log").stat().st_size <= 1_000 and (tmp_path / "test.log.1").exists()


def test_a_log_that_cannot_be_opened_is_told_of_once_and_again_when_a_line_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = logged(Settings(log_directory=tmp_path))
    file = logging.getLogger().handlers[1]
    for _ in range(2):
        file.close()
        (tmp_path / "test.log").unlink()
        (tmp_path / "test.log").mkdir()
        for _ in range(3):
            log.info("lost")
        (tmp_path / "test.log").rmdir()
        log.info("kept")
    assert said.getvalue().count("cannot be written") == 2
    assert (tmp_path / "test.log").read_text(encoding="utf-8").count("kept") == 1
