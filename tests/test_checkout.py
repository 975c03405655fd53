"""What a checkout brings with it: scripts that say how they are called, and requirements that install anywhere."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.checkout import ROOT

TIMEOUT_S = 60


def requirements(text: str) -> set[str]:
    """The names of packages in a list of requirements."""
    lines = (line.strip() for line in text.splitlines())
    return {re.split(r"[=<>!;\s]", line)[0].lower() for line in lines if line and line[0] not in "#-"}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_locked_by_hash_and_names_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = re.split(r"(?<!\\)\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", text))
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry, re.DOTALL), entry[:80]


def test_the_lists_of_requirements_agree() -> None:
    told = requirements((ROOT / "requirements.in").read_text())
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert requirements(setup["options"]["install_requires"]) == told - {"setuptools"}
    assert told <= requirements((ROOT / "requirements.txt").read_text())
    told_dev = requirements((ROOT / "requirements-dev.in").read_text())
    locked_dev = (ROOT / "requirements-dev.txt").read_text()
    assert told | told_dev <= requirements(locked_dev)
    for line in re.findall(r"(?m)^[\w.-]+==[^\s;]+", (ROOT / "requirements.txt").read_text()):
        assert line in locked_dev, f"{line} differs in requirements-dev.txt: say scripts/lock"


@pytest.mark.parametrize("name", ["setup", "test"])
def test_a_script_that_is_called_wrongly_says_how(name: str, tmp_path: Path) -> None:
    called = subprocess.run(
        [ROOT / "scripts" / name, "--wrong"], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert (called.returncode, called.stdout) == (2, "")
    assert called.stderr.startswith(f"usage: scripts/{name}")


def test_a_python_that_is_too_old_or_missing_is_refused_in_a_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    called = subprocess.run(
        [ROOT / "scripts" / "setup"],
        env={**os.environ, "PYTHON": str(old)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert called.returncode == 1
    assert called.stderr.startswith("setup: Python 3.11 or later is needed")
    assert called.stderr.count("\n") == 1


def test_every_script_is_executable_bash_that_parses() -> None:
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]:
        if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash"):
            assert os.access(path, os.X_OK), path
            subprocess.run(["bash", "-n", path], check=True, timeout=TIMEOUT_S)
