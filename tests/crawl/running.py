"""Whole crawls as a user runs them: real processes, an emulated service, and what they leave on disk."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.checkout import ROOT

GRAPH = ROOT.parent / "shared" / "data" / "ego-twitter-relabelled.tsv.gz"
FAULTS = "http500=0.02,reset=0.01,truncate=0.01,slow=0.05,repeat_cursor=0.001,short_page=0.1"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TMATIC_")}
KINDS = {"master": b"master.commands.master", "worker": b"worker.command", "emulator": b"services.emulator.command"}
COVERED = {"PYTHONPATH": str(ROOT), **ENVIRONMENT}


@dataclass
class Emulator:
    """A running emulator, by its URL."""

    url: str
    process: subprocess.Popen[bytes]

    def truth(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/_truth/{path}", timeout=60) as answer:
            return json.load(answer)


@contextlib.contextmanager
def emulator(*options: str) -> Iterator[Emulator]:
    process = subprocess.Popen(
        [sys.executable, "-m", "services.emulator.command", "--port", "0", *options],
        stdout=subprocess.PIPE,
        env=COVERED,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().decode()
        assert words.startswith("listening on "), words
        yield Emulator(words.split()[-1], process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextlib.contextmanager
def crawling(folder: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`tmatic-crawl` with its log in FOLDER.log; stopped, with all its children, when the block is left."""
    log = folder.with_suffix(".log")
    with log.open("ab") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "master.commands.crawl", "--output", str(folder), "--port", "0", *options],
            stdout=words,
            stderr=words,
            env=COVERED | environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def crawl(folder: Path, *options: str, within_s: float, ends_with: int = 0) -> str:
    """A whole crawl, to its end; its log. Raises AssertionError when it ends with another code."""
    with crawling(folder, *options) as process:
        code = process.wait(within_s)
    words = folder.with_suffix(".log").read_text()
    assert code == ends_with, words[-4000:]
    return words


def audit(folder: Path, *options: str) -> dict[str, Any]:
    """What `tmatic-master audit` says."""
    command = [sys.executable, "-m", "master.commands.master", "audit", "--json", "--output", str(folder)]
    command += ["--port", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=COVERED, timeout=600)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == result["clean"]
    return result


def dataset(folder: Path) -> dict[str, bytes]:
    """Every data file by its name, decompressed."""
    files = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix in (".twt", ".fws", ".inf") and path.parent.name != ".tmatic":
            files[path.name] = gzip.decompress(path.read_bytes())
    return files


def children(process: subprocess.Popen[bytes]) -> dict[str, list[int]]:
    """The processes below a `tmatic-crawl`, and the embedded ledger's server, by what they are."""
    found: dict[str, list[int]] = {"master": [], "worker": [], "emulator": [], "valkey": []}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == process.pid:
                for kind, module in KINDS.items():
                    if module in words:
                        found[kind].append(int(entry.name))
    return found


def server_of(folder: Path) -> int | None:
    """The process of the embedded server of a crawl's directory."""
    home = (folder / ".tmatic" / "valkey" / "main").resolve()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                if b"valkey-server" in words and (entry / "cwd").resolve() == home:
                    return int(entry.name)
    return None
