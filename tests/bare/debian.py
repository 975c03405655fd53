"""A bare Debian to try things in: the least that `debootstrap` lays down, python3-venv and git, and nothing more.

The base system is fetched once and kept. Each use sees it through an overlay in memory, in mount, process and network
namespaces of its own: whatever is done there is gone with the shell that did it, also when that is killed. As no mount
is seen outside, and its first process takes all others with it, nothing can be left behind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cached import FETCH_S, cached
from tests.checkout import ROOT
from tests.programs import program

HERE = Path(__file__).resolve().parent
PACKAGES = ("python3-venv", "git", "ca-certificates")
SCRIPT = "/usr/share/debootstrap/scripts/sid"
"""What lays down every Debian of these years, also one that is younger than the debootstrap here."""

USER = 1000
NAMES = {"bookworm": "Debian 12", "trixie": "Debian 13"}


@dataclass(frozen=True)
class Bare:
    """A base system, as `codename` and folder. `mounts` are folders of this machine that are there to be read."""

    codename: str
    base: Path
    mounts: dict[str, Path] = field(default_factory=dict)
    online: bool = False
    """Whether it has this machine's network; else it has a loopback of its own."""

    def run(
        self, script: str, environment: Mapping[str, str] | None = None, *, root: bool = True, timeout_s: float = 600.0
    ) -> subprocess.CompletedProcess[str]:
        """What a bash script does there, in the home of root or of a user, with what it said in `stdout`.

        It ends with 99 when processes are left behind that outlived it, and names them.
        """
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", *(() if self.online else ("--net",))]
        told = {f"BARE_{name}": value for name, value in (environment or {}).items()}
        with tempfile.TemporaryDirectory() as space:
            words = [self.base, space, 0 if root else USER, "online" if self.online else "alone", script]
            words += [part for inside, outside in self.mounts.items() for part in (inside, outside)]
            return subprocess.run(
                ["unshare", *namespaces, "bash", "-euo", "pipefail", str(HERE / "inside.sh"), *map(str, words)],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **told},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
            )


def bare(codename: str, packages: Sequence[str] = PACKAGES) -> Path:
    """The folder with a base system. Skips where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("a bare Debian is laid down and entered by root only")
    debootstrap = program("debootstrap", "debootstrap")
    program("unshare", "util-linux")

    def fetch(folder: Path) -> None:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command += [debootstrap, "--variant=minbase", f"--include={','.join(packages)}", codename, str(folder)]
        mirror = "http://deb.debian.org/debian"
        done = subprocess.run([*command, mirror, SCRIPT], capture_output=True, text=True, timeout=FETCH_S)
        if done.returncode:
            shutil.rmtree(folder / "debootstrap", ignore_errors=True)
            pytest.skip(f"{codename} cannot be laid down: {(done.stdout + done.stderr)[-300:]}")

    return cached(f"bare-{codename}-{hashlib.sha256(repr(packages).encode()).hexdigest()[:16]}", fetch)


def checkout(folder: Path) -> Path:
    """A clone of this checkout in `folder`, with what is changed and not committed."""
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT)]
    subprocess.run([*git, "clone", "-q", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    listed = b""
    for words in (
        ["diff", "-z", "--name-only", "--no-renames", "HEAD"],
        ["ls-files", "-z", "-o", "--exclude-standard"],
    ):
        listed += subprocess.run([*git, *words], check=True, capture_output=True).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        (folder / name).unlink(missing_ok=True)
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def python_of(base: Path) -> str:
    """The Python of a base system, such as `3.13`."""
    return (base / "usr/bin/python3").resolve().name.removeprefix("python")
