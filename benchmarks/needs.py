"""What a benchmark needs, looked for before it begins: a run of minutes is not to end at what was missing anyway."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MIB = 1 << 20


def require(*, disk_mib: int, programs: Mapping[str, str] | None = None, modules: Sequence[str] = ()) -> None:
    """Ends the benchmark in one sentence when something is not here: free space for its temporary files, programs (each
    with the Debian package that brings it), and Python modules that only its children import."""
    lacks = [*_programs(programs or {}), *_modules(modules), *_disk(disk_mib)]
    if lacks:
        raise SystemExit(f"{Path(sys.argv[0]).name}: this benchmark needs {'; and '.join(lacks)}")


def _programs(programs: Mapping[str, str]) -> list[str]:
    missing = [name for name in programs if shutil.which(name) is None]
    packages = " ".join(sorted({programs[name] for name in missing}))
    return [f"{', '.join(missing)}: apt-get install {packages}"] if missing else []


def _modules(modules: Sequence[str]) -> list[str]:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return [f"the Python packages {', '.join(missing)}: scripts/setup --dev, then .venv/bin/python"] if missing else []


def _disk(disk_mib: int) -> list[str]:
    folder = tempfile.gettempdir()
    free_mib = shutil.disk_usage(folder).free // MIB
    if free_mib >= disk_mib:
        return []
    return [f"{disk_mib:,} MiB free in {folder}, which has {free_mib:,}: make room, or set TMPDIR to another folder"]
