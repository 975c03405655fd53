"""Real carbons with their whisper, in an environment of their own that is made once and kept outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

from services.stats.recording.points import Point
from tests.ports import free_port
from tests.waiting import until

HERE = Path(__file__).resolve().parent / "carbon"
STEP_S = 5
RETENTIONS = "5s:1d,1m:7d,10m:1y"
START_S = 20.0
WRITTEN_S = 30.0

CONFIGURATION = """
[cache]
STORAGE_DIR = {folder}
CONF_DIR = {folder}
LOG_DIR = {folder}
PID_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
ENABLE_TAGS = False
WHISPER_SPARSE_CREATE = True
ENABLE_LOGROTATION = False
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
"""

Values = dict[str, dict[int, float]]


def environment(name: str, requirements: str) -> Path:
    """The Python of an environment with what a file of requirements lists: made in the user's cache if it is not there
    yet."""
    files = [HERE / "build.txt", HERE / requirements]
    made_of = hashlib.sha256(b"".join(path.read_bytes() for path in files) + sys.version.encode()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twittomatic"
    folder = cache / f"{name}-{made_of[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Tests may run in several processes.
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            for path in files:
                subprocess.run([*pip, "--require-hashes", "--no-build-isolation", "-r", str(path)], check=True)
            (folder / "ready").touch()
    return folder / "bin" / "python"


class Carbon:
    """A carbon-cache that keeps its ports and its data over kills."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self.folder = python, folder
        self.line, self.pickle, query = free_port(), free_port(), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        words = CONFIGURATION.format(folder=folder, line=self.line, pickle=self.pickle, query=query)
        (folder / "carbon.conf").write_text(words)
        (folder / "storage-schemas.conf").write_text(f"[all]\npattern = .*\nretentions = {RETENTIONS}\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Come up, and listen when this returns."""
        (self.folder / "pid").unlink(missing_ok=True)
        command: list[str | Path] = [
            self._python,
            self._python.with_name("carbon-cache.py"),
            f"--config={self.folder / 'carbon.conf'}",
        ]
        with (self.folder / "words").open("ab") as words:
            self._process = subprocess.Popen(
                [*command, f"--pidfile={self.folder / 'pid'}", "--nodaemon", "start"],
                env={**os.environ, "GRAPHITE_ROOT": str(self.folder)},
                stdout=words,
                stderr=words,
            )
        for port in (self.line, self.pickle):
            until(lambda port=port: listens(port), START_S)  # type: ignore[misc]

    def stop(self) -> None:
        """Leave in order, having written everything."""
        self._end("terminate")

    def kill(self) -> None:
        """Die with whatever was in memory."""
        self._end("kill")

    def _end(self, how: str) -> None:
        if self._process is not None:
            getattr(self._process, how)()
            self._process.wait(30)
            self._process = None

    def values(self, since: int) -> Values:
        """What whisper has of every metric since a unix time, in slots of `STEP_S`."""
        command: list[str | Path] = [self._python, HERE / "read.py", self.folder / "whisper", str(since - 2 * STEP_S)]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        return {name: {int(at): value for at, value in row.items()} for name, row in json.loads(said).items()}

    def has(self, points: Iterable[Point], since: int) -> None:
        """Wait until whisper has exactly these points, as it puts them into slots."""
        wanted = slots(points)
        found: Values = {}

        def equal() -> bool:
            nonlocal found
            found = self.values(since)
            return found == wanted

        try:
            # A file that carbon is just making cannot be read yet.
            until(equal, WRITTEN_S, expecting=subprocess.CalledProcessError)
        except AssertionError:
            for name in sorted(wanted.keys() | found.keys()):
                has, should = found.get(name, {}), wanted.get(name, {})
                wrong = sorted(at for at in has.keys() | should.keys() if has.get(at) != should.get(at))
                assert not wrong, (name, [(at - since, has.get(at), should.get(at)) for at in wrong])


def slots(points: Iterable[Point]) -> Values:
    """What whisper makes of points that come in this order: the last one of each slot counts."""
    made: Values = {}
    for point in points:
        made.setdefault(point.name, {})[point.at - point.at % STEP_S] = float(point.value)
    return made


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
