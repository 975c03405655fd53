"""A start that fails at one step: for a process of ours, brought in by the interpreter itself before its first line.

A step is a line of ours that is reached for the first time once the command runs. Which one fails, how, and in which
process of those that are started, is in the environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import leftovers
from tests.checkout import ROOT
from tests.crawl.running import ENVIRONMENT

CALLED = "sitecustomize.py"
"""The name under which the interpreter looks for it, in a folder of PYTHONPATH."""
WITHIN_S = 60.0
GONE_WITHIN_S = 20.0

BROUGHT_IN = """
import os, signal, sys
role, step, how, folder = os.environ["FAILING_START"].split("|")
seen, root = set(), os.environ["FAILING_ROOT"] + "/"

def local(frame, event, _):
    if event == "line":
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place not in seen:
            seen.add(place)
            if how == "count":
                with open(folder + "/steps", "a") as file:
                    print(*place, file=file)
            elif step in (str(len(seen)), "%s %d" % place):
                try:
                    os.close(os.open(folder + "/failed", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return local  # once is enough
                with open(folder + "/failed", "w") as file:
                    print(*place, file=file)
                if how == "raise":
                    raise RuntimeError(f"step {step} fails")
                os.kill(os.getpid(), getattr(signal, how))
    return local

def trace(frame, event, _):
    name = frame.f_code.co_filename
    ours = name.startswith(root) and "/.venv/" not in name and "/tests/" not in name
    return local if ours and frame.f_code.co_name not in ("<module>", "<lambda>") else None

class Begins:  # once the command's module is asked for
    def find_spec(name, *_):
        if name == role:
            sys.settrace(trace)

sys.meta_path.insert(0, Begins)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a start."""

    code: int
    said: str
    failed_at: str
    """The step: file and line."""
    left: Mapping[int, str]
    """Processes that were left behind, by their command lines."""


def started(words: list[str], folder: Path, role: str, step: int | str, how: str) -> subprocess.Popen[bytes]:
    """A command in a folder. Of its processes that which runs the module `role` fails at the step of that number, or at
    that file and line."""
    brought = folder / "brought"
    brought.mkdir(parents=True)
    (brought / CALLED).write_text(BROUGHT_IN)
    (folder / "targets.txt").write_text("12\n")
    environment = {
        **ENVIRONMENT,
        "PYTHONPATH": str(brought),
        "FAILING_START": f"{role}|{step}|{how}|{folder}",
        "FAILING_ROOT": str(ROOT),
    }
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def ended(process: subprocess.Popen[bytes], folder: Path) -> Outcome:
    """What came of it, when it has ended; what is left then is ended too."""
    try:
        code = process.wait(WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    left = leftovers.left_behind(GONE_WITHIN_S, *_marks(folder))
    failed = folder / "failed"
    return Outcome(
        code, (folder / "said").read_text(errors="replace"), failed.read_text() if failed.exists() else "", left
    )


def belonging(folder: Path) -> dict[int, str]:
    """The processes that were started there, directly or not."""
    return leftovers.belonging(*_marks(folder))


def _marks(folder: Path) -> tuple[bytes, Path]:
    """What is in their environment, and where they are."""
    return os.fsencode(f"|{folder}"), folder


def command(name: str) -> str:
    """A command as it is installed."""
    return str(Path(sys.executable).with_name(name))
