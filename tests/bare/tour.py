"""A tour of an installed twittomatic: a crawl, a pair of masters, an index, and a page of the monitor.

usage: PYTHON tour.py     in an empty folder, with the Python of the environment that it is installed in

It knows nothing of the checkout, and needs nothing but the standard library. The last line is "all is well".
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

COMMANDS = Path(sys.executable).parent
TIMEOUT_S = 120
CRAWL = ["targets.txt", "-T", "-F", "-A", "--traversing", "BFS", "--depth", "2", "--port", "0", "--emulator"]
WORLD = "--users 60 --seed 7 --page-cap 100"
AGREES = "lost: 0, doubled: 0, differences: 0"


def call(name: str, *words: str) -> str:
    """What a command says."""
    done = subprocess.run([str(COMMANDS / name), *words], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"{name} {words}: {done.stderr[-2_000:]}"
    return done.stdout


def crawl(folder: str, *more: str) -> None:
    call("tmatic-crawl", *CRAWL, "--emulator-options", WORLD, "--output", folder, *more)
    said = call("tmatic-master", "audit", "--output", folder)
    assert said.strip().endswith(AGREES), said


def page() -> None:
    """Fetch the monitor's page, and see it end."""
    command = [str(COMMANDS / "tmatic-monitor"), "--output", "pair", "--monitor-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as monitor:
        try:
            assert monitor.stderr is not None
            address = next(filter(None, (re.search(r"http://[\d.:]+", line) for line in monitor.stderr)))[0]
            with urllib.request.urlopen(f"{address}/", timeout=TIMEOUT_S) as answer:
                assert b"<html" in answer.read()
        finally:
            monitor.terminate()
            assert monitor.stderr is not None
            monitor.stderr.read()  # it has something to say when it ends, and is heard
    assert monitor.returncode == 0, monitor.returncode


def main() -> None:
    Path("targets.txt").write_text("12\n", encoding="utf-8")
    crawl("one")
    crawl("pair", "--ha")
    call("tmatic-indexer", "rebuild", "--output", "pair")
    assert call("tmatic-indexer", "query", "--output", "pair", "user:12")
    page()
    print("all is well")


if __name__ == "__main__":
    main()
