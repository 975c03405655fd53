"""Wheels of our locked libraries for any Python, fetched once and kept: a fresh environment needs no network then."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.cached import FETCH_S, cached
from tests.checkout import ROOT

RUNTIME, DEVELOPMENT = "requirements.txt", "requirements-dev.txt"


def wanted(lock: str, *releases: str) -> dict[str, str]:
    """What is locked for any of these releases of Python, such as `3.13.2`, by name: the entry with its hashes, without
    the condition that it is under."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / lock).read_text())
    found = {}
    for entry in re.split(r"(?<!\\)\n(?=\S)", text.strip()):
        told, _, hashes = entry.partition("\\\n")
        requirement = Requirement(told)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"python_full_version": release}) for release in releases):
            found[requirement.name] = f"{requirement.name}{requirement.specifier} \\\n{hashes}"
    return found


def wheels(python: str, lock: str = RUNTIME) -> Path:
    """The folder with what is locked, for a Python such as `3.13`."""
    digest = hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()[:16]

    def fetch(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as entries:
            entries.write("\n".join(wanted(lock, f"{python}.0", f"{python}.99").values()))
            entries.flush()
            command += ["--require-hashes", "--requirement", entries.name, "--python-version", python]
            done = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True, timeout=FETCH_S)
        if done.returncode:
            pytest.skip(f"the libraries in {lock} cannot be fetched for Python {python}: {done.stderr[-300:]}")

    return cached(f"wheels-{digest}-py{python}", fetch)


def offline(folder: Path) -> dict[str, str]:
    """What tells pip to take everything from a folder."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
