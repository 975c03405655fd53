"""Standard streams that are closed, full, left or too small for a letter end no command in a traceback."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.logs import fields, set_up
from protocol.settings.settings import Settings
from protocol.text import plain
from tests.checkout import ROOT

TIMEOUT_S = 60
pytestmark = pytest.mark.slow
PRINTS = """
import click, logging, socket, sys
from protocol.cli import run
from protocol.logs import set_up
from protocol.settings.settings import Settings
@click.command()
def says():
    {body}
run(says, "tmatic-x")
"""


def ended(body: str, streams: str = "", **variables: str) -> tuple[int, bytes, str]:
    """The exit code of a command with this body, and what it said."""
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {streams}', "bash", sys.executable, "-c", PRINTS.format(body=body)],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "", "LC_ALL": "C.UTF-8", **variables},
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    return done.returncode, done.stdout, done.stderr.decode()


FULL = "tmatic-x: standard output: No space left on device\n"


@pytest.mark.parametrize(
    "body",
    [
        "print('x')",
        "click.echo('x')",
        "sys.stdout.buffer.write(b'x')",
        "print('x' * 100_000)",
        "print('x'); sys.exit(0)",
    ],
)
def test_output_on_a_full_disk_is_one_sentence(body: str) -> None:
    assert ended(body, ">/dev/full") == (1, b"", FULL)


def test_what_failed_for_another_reason_keeps_its_exit_code_on_a_full_disk() -> None:
    assert ended("print('x'); sys.exit(3)", ">/dev/full")[0] == 3


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", ">&- 2>/dev/full"])
def test_a_stream_that_is_closed_or_complaints_that_cannot_be_kept_end_nothing(streams: str, tmp_path: Path) -> None:
    body = f"print('x'); click.echo('y', err=True); print('z', file=sys.stderr); open({str(tmp_path / 'done')!r}, 'x')"
    assert ended(body, streams)[0] == 0
    assert (tmp_path / "done").exists()


def test_no_socket_gets_the_number_of_a_stream_that_was_closed() -> None:
    _, out, _ = ended("x = socket.socket(); open('/proc/self/fd/9', 'w').write(str(x.fileno()))", "9>&1 <&- >&- 2>&-")
    assert int(out) > 2


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "euc_jp", "ascii", "utf-8"])
def test_a_letter_that_standard_output_cannot_hold_is_escaped(encoding: str) -> None:
    code, out, said = ended(
        "print('a\\N{PILE OF POO}\\udce9'); click.echo('\\N{PILE OF POO}')", PYTHONIOENCODING=encoding
    )
    assert (code, said) == (0, "")
    assert out.startswith(b"a\xf0\x9f\x92\xa9\\udce9" if encoding == "utf-8" else b"a\\U0001f4a9\\udce9")


LOGS = "set_up('x', Settings({directory})); [logging.getLogger().error('line %s', n) for n in range(300)]"


def test_a_log_that_cannot_be_written_ends_nothing_and_says_nothing() -> None:
    body = LOGS.format(directory="") + "; print('worked')"
    assert ended(body, "2>/dev/full") == (0, b"worked\n", "")


def test_a_log_file_that_cannot_be_written_is_told_of_once(tmp_path: Path) -> None:
    (tmp_path / "x.log").symlink_to("/dev/full")
    body = LOGS.format(directory=f"log_directory=__import__('pathlib').Path({str(tmp_path)!r})") + "; print('worked')"
    code, out, said = ended(body)
    assert (code, out) == (0, b"worked\n")
    told = [line for line in said.splitlines() if "cannot be written" in line]
    assert len(told) == 1 and "x.log cannot be written: No space left on device" in told[0]
    assert len(said.splitlines()) == 301


def test_a_disk_that_is_full_again_is_told_of_again(tmp_path: Path) -> None:
    body = """
    import resource, signal
    from pathlib import Path
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    set_up('x', Settings(log_directory=Path({directory!r})))
    for limit in (0, 10**6, 0):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for n in range(5): logging.getLogger().error('line %s', n)
    """
    code, _, said = ended(body.format(directory=str(tmp_path)))
    assert (code, said.count("cannot be written: File too large")) == (0, 2), said
    assert len(said.splitlines()) == 17 and len((tmp_path / "x.log").read_text().splitlines()) == 5


def test_a_name_that_is_no_utf8_is_escaped_in_a_log_and_stays_json(tmp_path: Path) -> None:
    set_up("x", Settings(log_format="json", log_directory=tmp_path))
    logging.getLogger("tests.streams").error("read %s", "caf\udce9", extra=fields(file=Path("caf\udce9.txt")))
    logging.root.handlers[1].flush()
    said = json.loads((tmp_path / "x.log").read_text(encoding="utf-8"))
    assert (said["message"], said["file"]) == (r"read caf\xe9", r"caf\xe9.txt")


@pytest.mark.parametrize(
    ("name", "told"),
    [("caffè", "caffè"), ("caf\udce9", r"caf\xe9"), ("\ud83d", r"\ud83d"), ("plain", "plain"), (r"a\xe9", r"a\xe9")],
)
def test_a_name_is_told_in_text_that_any_utf8_holds(name: str, told: str) -> None:
    assert plain(name) == told
    assert plain(name).encode() == told.encode()


def test_a_terminal_that_does_not_wait_gets_all_that_is_printed() -> None:
    # Who shares a pipe or a terminal with others may find it non-blocking.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        process = subprocess.Popen(
            [sys.executable, "-c", PRINTS.format(body="print('x' * 2_000_000)")], cwd=ROOT, stdout=theirs.fileno()
        )
        theirs.close()
        got = 0
        while part := ours.recv(1 << 16):
            got += len(part)
        assert (process.wait(TIMEOUT_S), got) == (0, 2_000_001)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("services.emulator.command", "--host", "h\udce9", "--port", "0"), "is no name of a host"),
        (("services.emulator.command", "--host", "a..b", "--port", "0"), "is no name of a host"),
        (("master.commands.master", "requeue", "T:\udce9", "--output", "none"), "a letter is OPERATION:ACCOUNT"),
        (("master.commands.master", "drop", "T:\udce9", "--output", "none"), "a letter is OPERATION:ACCOUNT"),
        (("master.commands.master", "status", "--output", "o\udce9"), "holds no crawl"),
    ],
)
def test_an_argument_that_is_no_text_is_refused_in_a_sentence(words: tuple[str, ...], why: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, timeout=TIMEOUT_S)
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (2, 1) and why in said, said
