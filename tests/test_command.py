"""Every command line ends with one sentence and the exit code that says what happened."""

from __future__ import annotations

import configparser
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from master.commands.crawl import tmatic_crawl
from protocol.cli import run
from protocol.errors import LedgerError, UsageError
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from tests.checkout import ROOT
from tests.docs import reference_page

TIMEOUT_S = 60


@click.group()
def command() -> None:
    """A command of the tests."""


@command.command()
@settings_options("port")
def show(settings: Settings) -> None:
    click.echo(settings.port)


@command.command()
@click.argument("how")
def end(how: str) -> int:
    match how:
        case "usage":
            raise UsageError("the file\nis wrong")
        case "failure":
            raise LedgerError("the ledger is away")
        case "interrupt":
            raise KeyboardInterrupt
        case "bug":
            raise ZeroDivisionError
    return 3


def test_exit_code_and_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    expected = {
        "show --port 1": (0, "1\n", ""),
        "show --port x": (2, "", "tmatic-x: --port must be a whole number from 0 to 65535, not 'x'\n"),
        "show --prot 1": (
            2,
            "",
            "tmatic-x: No such option '--prot'. Did you mean '--port'? (tmatic-x show --help tells more)\n",
        ),
        "show --config none": (2, "", "tmatic-x: none cannot be read: No such file or directory\n"),
        "end usage": (2, "", "tmatic-x: the file is wrong\n"),
        "end failure": (1, "", "tmatic-x: the ledger is away\n"),
        "end interrupt": (130, "", ""),
        "end well": (3, "", ""),
        "nothing": (2, "", "tmatic-x: No such command 'nothing'. (tmatic-x --help tells more)\n"),
    }
    for line, (code, out, err) in expected.items():
        with pytest.raises(SystemExit) as left:
            run(command, "tmatic-x", line.split())
        said = capfd.readouterr()
        assert (left.value.code, said.out, said.err) == (code, out, err), line


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(command, "tmatic-x", ["end", "bug"])


@pytest.mark.parametrize("asked", ["-h", "--help", "show -h"])
def test_help_is_asked_for_shortly(asked: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(command, "tmatic-x", asked.split())
    assert left.value.code == 0
    assert "Usage: tmatic-x" in capfd.readouterr().out


def test_the_version_is_that_of_the_installation(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(command, "tmatic-x", ["--version"])
    assert (left.value.code, capfd.readouterr().out.split()[:1]) in [(0, ["tmatic-x"]), (2, [])]


def test_a_shell_completes_its_words(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_TMATIC_X_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "tmatic-x sh")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit) as left:
        run(command, "tmatic-x", [])
    assert (left.value.code, capfd.readouterr().out) == (0, "plain,show\n")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("tmatic-crawl targ", "file,targ\n"),
        ("tmatic-crawl --seeds targ", "file,targ\n"),
        ("tmatic-crawl --output da", "file,da\n"),
        ("tmatic-crawl --config tm", "file,tm\n"),
        ("tmatic-crawl --traversing b", "plain,BFS\n"),
    ],
)
def test_a_shell_completes_names_of_files_and_words_of_settings(
    words: str, completed: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_TMATIC_CRAWL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit) as left:
        run(tmatic_crawl, "tmatic-crawl", [])
    assert (left.value.code, capfd.readouterr().out) == (0, completed)


CHILD = """
import click
from protocol.cli import run
@click.command()
def lines():
    print("ready", flush=True)
    while True:
        {body}
run(lines, "tmatic-x")
"""


def child(body: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # A shell that runs the tests in the background has them ignore Ctrl-C, and so would this child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("body", ["print('x' * 100)", "click.echo('x' * 100)"])
def test_a_reader_that_goes_away_ends_it_quietly(body: str) -> None:
    process = child(body)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(TIMEOUT_S) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_ctrl_c_ends_it_quietly() -> None:
    process = child("__import__('time').sleep(0.01)")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, said) == (130, b"")


ENTRIES = configparser.ConfigParser()
ENTRIES.read(ROOT / "setup.cfg")
SCRIPTS = dict(line.split(" = ") for line in ENTRIES["options.entry_points"]["console_scripts"].split("\n") if line)


COMES_IN = """
import sys
from {module} import {entry}
class First:  # a finder, since the command itself sees to the search path
    def find_spec(name, *_):
        if name == "click":
            sys.path.insert(0, {folder!r})
sys.meta_path.insert(0, First)
sys.exit({entry}())
"""


@pytest.mark.parametrize("name", reference_page.MODULES)
def test_ctrl_c_while_a_command_comes_in_ends_it_quietly(name: str, tmp_path: Path) -> None:
    # Every command needs click: this one takes for ever to come in.
    (tmp_path / "click.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)")
    module, _, entry = SCRIPTS[name].partition(":")
    process = subprocess.Popen(
        [sys.executable, "-c", COMES_IN.format(module=module, entry=entry, folder=str(tmp_path))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, said) == (130, b"")


@pytest.mark.slow
def test_every_command_has_its_entry_point() -> None:
    assert SCRIPTS.keys() == reference_page.MODULES.keys()
    for name, module in reference_page.MODULES.items():
        where, _, entry = SCRIPTS[name].partition(":")
        code = f"import sys; from {where} import {entry}; sys.argv = ['{name}', '--version']; {entry}()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split()[0] == name, module
