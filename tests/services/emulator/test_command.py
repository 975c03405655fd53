"""The command: what it teaches, and the one sentence that it says when it is used wrongly."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from protocol.cli import run
from services.emulator.command import tmatic_emulator
from tests.checkout import ROOT
from tests.services.emulator.running import said


def test_help_teaches_by_examples() -> None:
    shown = CliRunner().invoke(tmatic_emulator, ["--help"], max_content_width=100)
    assert shown.exit_code == 0
    for words in ("tmatic-emulator --graph", "--limits real/60", "T=90,F=15,A=90/15s", "http500=0.02", "/_truth/world"):
        assert words in shown.output
    assert max(map(len, shown.output.splitlines())) <= 100


def test_the_manual_has_every_flag() -> None:
    manual = (ROOT / "docs" / "emulator.md").read_text()
    for parameter in tmatic_emulator.params:
        assert f"`{parameter.opts[-1]}`" in manual


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--faults", "http501=1"], "not 'http501'"),
        (["--faults", "reset=2"], "0 to 1"),
        (["--limits", "imaginary"], "not 'imaginary'"),
        (["--graph", "missing.tsv"], "cannot read the graph missing.tsv"),
        (["--dataset", "missing"], "--dataset missing is not a directory"),
        (["--graph", "a", "--dataset", "b"], "exclude each other"),
        (["--users", "3"], "--users"),
        (["--users", "many"], "--users"),
        (["--port", "70000"], "--port"),
        (["--page-cap", "0"], "--page-cap"),
        (["--frobnicate"], "--frobnicate"),
        (["stray"], "stray"),
    ],
)
def test_a_mistake_in_a_flag_is_one_sentence_and_exit_2(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run(tmatic_emulator, "tmatic-emulator", flags)
    said_there = capsys.readouterr().err
    assert left.value.code == 2
    assert words in said_there
    assert said_there.startswith("tmatic-emulator: ")
    assert said_there.count("\n") == 1


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    graph = tmp_path / "edges.tsv"
    graph.write_text("1\t2\nthree\n")
    code, words = said("--graph", str(graph))
    assert code == 2
    assert "line 2" in words


def test_a_port_in_use_is_exit_1_and_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, words = said("--users", "20", "--port", str(port))
    assert code == 1
    assert words == (
        f"tmatic-emulator: port {port} on 127.0.0.1 is in use; choose another with --port, or 0 for any that is free.\n"
    )
