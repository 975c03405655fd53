"""What these tests would not see, they could not promise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.environments import running
from tests.environments.table import Row

FORGETS = """
import os, pathlib
from storage.ledger.embedded import EmbeddedValkey
EmbeddedValkey(pathlib.Path("data/.tmatic/valkey/main"), "memory").start()
os._exit(0)
"""
"""A command that leaves its server running."""


def test_a_valkey_that_is_left_behind_is_seen_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GONE_WITHIN_S", 0.2)
    with pytest.raises(AssertionError, match=r"left behind: .*valkey-server"):
        running.run_in(Row("as it is"), [sys.executable, "-c", FORGETS], tmp_path, tmp_path)
    with running.nothing_left(tmp_path):
        pass
