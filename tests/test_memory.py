"""The ledger is small: the short form of `benchmarks/memory.py`, as the command that people run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.memory import KINDS, MAX_BYTES_PER_JOB, MAX_BYTES_PER_SEEN
from tests.checkout import ROOT


@pytest.mark.slow
def test_jobs_and_seen_ids_cost_no_more_than_promised(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--quick"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert 19 < figures["bytes_per_job"] <= MAX_BYTES_PER_JOB, done.stdout
    assert 4 < figures["bytes_per_seen"] <= MAX_BYTES_PER_SEEN, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_that_are_measured_are_distinct_and_of_their_kind(kind: str) -> None:
    ids = KINDS[kind](10_000)
    low, high = {"dense": (1, 10_000), "32-bit": (1, 2**32 - 1), "64-bit": (1, 2**63 - 1)}[kind]
    assert len(set(ids)) == 10_000
    assert low <= min(ids) and high // 8 < max(ids) <= high
    assert KINDS[kind](10_000) == ids
