"""Programs of other people that tests call. `scripts/test` installs them; where it may not, the tests that need them
are left out by name."""

from __future__ import annotations

import os
import shutil

import pytest

SYSTEM_PATHS = ("/usr/sbin", "/sbin")
"""Where Debian puts what root calls; a user's PATH does not have them."""


def program(name: str, package: str) -> str:
    """Its path. Skips the test, and says what to install, where it is missing."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_PATHS]))
    return found or pytest.skip(f"{name} is not installed, and this test needs it: apt-get install {package}")
