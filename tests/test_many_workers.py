"""One master holds hundreds of workers: the short form of `benchmarks/many_workers.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.dispatch import server
from benchmarks.many_workers import FEW, ROOM, a_round

WORKERS = 300
MIN_RATE = 300.0
"""Jobs a second, on a machine that does much else: enough that dispatch goes on."""
MAX_BYTES_PER_WORKER = 256 * 1024


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(300)
def test_hundreds_of_workers_all_get_jobs_and_cost_little_memory(tmp_path: Path) -> None:
    with server(tmp_path / "server") as port:
        many = a_round(port, tmp_path / "many", WORKERS, ROOM, 3.0)
        few = a_round(port, tmp_path / "few", FEW, ROOM * WORKERS // FEW, 1.0)
    assert many.fewest > 0
    assert many.rate > MIN_RATE, (many, few)
    assert (many.memory - few.memory) / (WORKERS - FEW) < MAX_BYTES_PER_WORKER, (many, few)
