"""An emulator as users start it: a process of its own on a free port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from tests.checkout import ROOT

START = [sys.executable, "-c", "from services.emulator.command import main; main()"]
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Running:
    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=TIMEOUT_S, **options)

    def truth(self, name: str) -> Any:
        found = self.get(f"/_truth/{name}")
        assert found.status_code == 200, found.text
        return found.json()


@contextmanager
def emulator(*flags: str) -> Iterator[Running]:
    command = [*START, "--port", "0", *flags]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), (line, process.poll())
            yield Running(line.split()[-1], process)
        finally:
            process.kill()


def said(*flags: str) -> tuple[int, str]:
    """Exit code and standard error of a start that cannot succeed."""
    ended = subprocess.run([*START, *flags], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.stdout == ""
    return ended.returncode, ended.stderr
