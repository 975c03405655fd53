"""A leader that dies or hangs is followed within a moment: the short form of `benchmarks/failover.py`.

The promised figures (a median of 0.6 s, 1.2 s for all but one in a hundred, 0.1 s when it leaves on purpose) are for a
machine that does nothing else; the bars here are wide enough for one that does.
"""

from __future__ import annotations

import signal
import statistics
from pathlib import Path

import pytest

from benchmarks.failover import pair

MAX_MEDIAN_S = 1.5
MAX_HANDOVER_S = 1.0
KINDS = (signal.SIGKILL, signal.SIGSTOP) * 3


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(300)
def test_a_leader_that_dies_or_hangs_is_followed_within_a_moment(tmp_path: Path) -> None:
    with pair(tmp_path, len(KINDS)) as struck:
        taken = [struck.strike(kind).job_s for kind in KINDS]
        assert statistics.median(taken) < MAX_MEDIAN_S, taken


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(300)
def test_a_leader_that_is_told_to_stop_hands_over_at_once(tmp_path: Path) -> None:
    with pair(tmp_path, 3) as struck:
        taken = [struck.strike(signal.SIGTERM).job_s for _ in range(3)]
        assert statistics.median(taken) < MAX_HANDOVER_S, taken
