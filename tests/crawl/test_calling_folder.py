"""What lies in the folder where somebody calls, and in those of PYTHONPATH, takes the place of no module."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import tmatic_starting
from tests.checkout import ROOT
from tests.crawl.running import ENVIRONMENT
from tests.docs.reference_page import MODULES

pytestmark = pytest.mark.slow

WITHIN_S = 100
BIN = Path(sys.executable).parent
TRAP = """\
import os  # which the interpreter holds in itself
os.write(os.open({marker!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), {name!r}.encode() + b"\\n")
raise RuntimeError({name!r})
"""
WORLD = ["--emulator-options", "--users 40 --seed 7"]
CRAWL = ["tmatic-crawl", "targets.txt", "-T", "-F", "-A", "--output", "data", "--port", "0", "--emulator", *WORLD]


def installed() -> set[str]:
    """Everything that can be imported by one name: ours, every library's, the standard library's."""
    return {*tmatic_starting.OURS, *sys.stdlib_module_names, *packages_distributions(), *tmatic_starting.LIBRARIES}


def trapped(folder: Path, *, spared: frozenset[str] = frozenset()) -> Path:
    """A folder with a module of every name there is; who imports one of them says so in a file, and fails."""
    folder.mkdir()
    for name in sorted(installed() - spared):
        (folder / f"{name}.py").write_text(TRAP.format(marker=str(folder / "sprung"), name=name))
    (folder / "targets.txt").write_text("12\n")
    return folder


@pytest.fixture(scope="module")
def interpreters_own(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """What the interpreter and the script in `.venv/bin` bring in before our first line, also in vain."""
    folder = tmp_path_factory.mktemp("own")
    words = [sys.executable, "-c", "import re, sys; print(*{name.partition('.')[0] for name in sys.modules})"]
    own = {"tmatic_starting"}  # our first line
    own |= set(subprocess.check_output(words, env=ENVIRONMENT, text=True, timeout=WITHIN_S).split())
    trap, sprung = trapped(folder / "traps", spared=frozenset(own)), folder / "traps" / "sprung"
    while True:
        environment = ENVIRONMENT | {"PYTHONPATH": str(trap)}
        subprocess.run(words, env=environment, capture_output=True, timeout=WITHIN_S)
        if not sprung.exists():
            return frozenset(own)
        for name in set(sprung.read_text().split()):
            own.add(name)
            (trap / f"{name}.py").unlink()
        sprung.unlink()


def ran(words: list[str], folder: Path, **environment: str) -> str:
    """What a command says that ends well."""
    command = [str(BIN / words[0]), *words[1:]]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=WITHIN_S
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (folder / "sprung").exists(), (folder / "sprung").read_text()
    return done.stdout + done.stderr


def test_the_calling_folder_is_not_searched(tmp_path: Path) -> None:
    folder = trapped(tmp_path / "here")
    ran([*CRAWL, "--follow-rule", "followers_count >= 0"], folder)
    assert (folder / "data/12/12.inf").exists()


def test_an_empty_folder_of_our_name_is_not_taken_for_ours(tmp_path: Path) -> None:
    for name in tmatic_starting.OURS:
        (tmp_path / name).mkdir()
    (tmp_path / "targets.txt").write_text("12\n")
    ran(CRAWL, tmp_path, PYTHONPATH=str(tmp_path))
    assert (tmp_path / "data/12/12.inf").exists()


@pytest.mark.parametrize("masters", [[], ["--ha"]], ids=["one", "pair"])
def test_pythonpath_gives_a_crawl_its_rule_and_nothing_else(
    masters: list[str], tmp_path: Path, interpreters_own: frozenset[str]
) -> None:
    folder = trapped(tmp_path / "here", spared=interpreters_own)
    (folder / "rules.py").write_text("def everyone(profile):\n    return True\n")
    ran([*CRAWL, *masters, "--follow-rule", "rules:everyone"], folder, PYTHONPATH=".")
    assert (folder / "data/12/12.inf").exists()


def test_a_rehearsal_is_begun_among_strangers(tmp_path: Path, interpreters_own: frozenset[str]) -> None:
    folder = trapped(tmp_path / "here", spared=interpreters_own)
    words = ["tmatic-rehearse", "--kill", "worker:1@0.1s", "--length", "1s", "--output", "drill", "--workers", "1"]
    ran([*words, "--emulator-options", "--users 400 --seed 7"], folder, PYTHONPATH=str(folder))


def test_no_command_takes_a_stranger_for_a_module(tmp_path: Path, interpreters_own: frozenset[str]) -> None:
    folder = trapped(tmp_path / "here", spared=interpreters_own)
    for name in MODULES:
        assert ran([name, "--version"], folder, PYTHONPATH=str(folder)).startswith(name)


def test_libraries_that_are_on_pythonpath_alone_are_found_there() -> None:
    """As with `pip install --target`: all of ours, with the interpreter's own environment left out."""
    libraries = next(entry for entry in sys.path if entry.endswith("site-packages"))
    done = subprocess.run(
        [sys.executable, "-S", "-c", "from tmatic_starting import tmatic_worker; tmatic_worker()", "--help"],
        env=ENVIRONMENT | {"PYTHONPATH": f"{ROOT}{os.pathsep}{libraries}"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Do the jobs of a crawl" in done.stdout


def test_only_what_the_caller_put_there_leaves_the_search_path() -> None:
    path = ["/venv/bin", "/mine", "/usr/lib/python3.11", "/usr/lib/python3.11/lib-dynload", "/venv/site-packages"]
    callers = ["/mine", "/usr/lib/python3.11", "/usr/lib/python3.11/lib-dynload"]
    assert tmatic_starting.searched(path, callers, "/venv/bin/tmatic-crawl", "/usr/lib/python3.11") == path[2:]
    assert tmatic_starting.searched(["", *path[2:]], [], None, "/usr/lib/python3.11") == path[2:]
    assert tmatic_starting.searched(path[2:], [], "/elsewhere/x", "/usr/lib/python3.11") == path[2:]


def test_every_library_that_we_need_is_known_at_the_start() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = {re.sub(r"[-_.]+", "-", name).lower() for name in setup["options"]["install_requires"].split()}
    known = {
        re.sub(r"[-_.]+", "-", package).lower()
        for name, packages in packages_distributions().items()
        if name in tmatic_starting.LIBRARIES
        for package in packages
    }
    # The allocator is done without where it is missing.
    assert needed - known == {"cmeel-mimalloc"}
