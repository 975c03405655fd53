"""The wheel in a fresh environment, outside the checkout: all that it needs comes along, with every Python we name."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bare.debian import Bare, bare, checkout, python_of
from tests.bare.wheels import RUNTIME, offline, wheels
from tests.checkout import ROOT

TIMEOUT_S = 600
TOUR = Path(__file__).resolve().parent / "tour.py"
YOUNGEST_DEBIAN = "forky"
"""The Debian that brings a Python which may not be on this machine; with what is beside it."""


def classified() -> list[str]:
    """The Pythons that setup.cfg names."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])


def build(folder: Path) -> Path:
    """The wheel, built from a copy of the checkout, in a folder of its own."""
    sources = checkout(folder / "sources")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder / "dist"), str(sources)], check=True, timeout=TIMEOUT_S)
    (wheel,) = (folder / "dist").iterdir()
    return wheel


def install(python: str, environment: str, wheel: str) -> list[list[str]]:
    """The commands that make an environment with the wheel, in the versions of the lock."""
    pip = [f"{environment}/bin/python", "-m", "pip", "install", "--quiet", "--no-compile"]
    lock = Path(wheel).parent / RUNTIME
    return [
        [python, "-m", "venv", environment],
        [*pip, "--require-hashes", "-r", str(lock)],
        [*pip, "--no-deps", wheel],
        [f"{environment}/bin/python", "-m", "pip", "check"],
    ]


def tour(python: str, folder: Path) -> None:
    """Install the wheel for a Python of this machine, and look at all of it from an empty folder."""
    said = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True)
    wheel = build(folder)
    shutil.copy(ROOT / RUNTIME, wheel.parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TMATIC_", "PYTHON"))}
    environment = {**kept, **offline(wheels(said.stdout.decode().strip()))}
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    commands = [*install(python, str(folder / "fresh"), str(wheel)), [str(folder / "fresh/bin/python"), str(TOUR)]]
    for command in commands:
        done = subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert done.returncode == 0, (command, done.stdout[-2_000:], done.stderr[-2_000:])
    assert done.stdout.splitlines()[-1] == "all is well"


def found(version: str) -> str | None:
    """A Python of that version on this machine: on PATH, or one of pyenv's."""
    made = sorted(
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob(f"versions/{version}.*/bin/python3")
    )
    for candidate in filter(None, [*map(str, made), shutil.which(f"python{version}")]):
        if subprocess.run([candidate, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
            return candidate
    return None


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_works_in_a_fresh_environment_outside_the_checkout(tmp_path: Path) -> None:
    tour(sys.executable, tmp_path)


def test_the_python_that_runs_this_is_one_of_those_that_are_named() -> None:
    assert "{}.{}".format(*sys.version_info[:2]) in classified()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", classified())
def test_the_wheel_works_with_every_python_that_is_named(version: str, tmp_path: Path) -> None:
    began, python = time.monotonic(), found(version)
    if python is not None:
        tour(python, tmp_path)
    else:
        tour_in_debian(version, tmp_path)
    print(f"Python {version} ({python or 'in a bare Debian'}): {time.monotonic() - began:.0f} s")


def tour_in_debian(version: str, folder: Path) -> None:
    """The same, in a Debian whose Python it is."""
    base = bare(YOUNGEST_DEBIAN)
    if python_of(base) != version:
        pytest.skip(f"there is no Python {version} here, and {YOUNGEST_DEBIAN} has {python_of(base)}")
    wheel = build(folder)
    shutil.copy(ROOT / RUNTIME, wheel.parent)
    there = Bare(YOUNGEST_DEBIAN, base, {"/dist": wheel.parent, "/wheels": wheels(version), "/tour": TOUR.parent})
    commands = install("python3", "/root/fresh", f"/dist/{wheel.name}")
    lines = [" ".join(command) for command in commands]
    ended = there.run("\n".join([*lines, "fresh/bin/python /tour/tour.py"]), offline(Path("/wheels")))
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "all is well"), ended.stdout[-3_000:]
