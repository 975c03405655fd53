"""A delivery that ends by a mistake in the program is told where the recording grows, not left to be noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.stats.carbon.connection import Address
from services.stats.carbon.delivery import Delivery
from services.stats.carbon.live import LiveDelivery
from services.stats.counts import EventCounts
from services.stats.recording.points import Point
from services.stats.recording.recording import Recording
from tests.ports import free_port
from tests.waiting import until


def test_a_mistake_in_the_delivery_ends_no_thread_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(_: Delivery) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(Delivery, "run", mistaken)
    path = tmp_path / "crawl.gz"
    with Recording(path) as recording:
        recording.append([Point("a", "1", 1)], None, EventCounts(), durable=True)
        live = LiveDelivery(path, recording.end, Address("127.0.0.1", free_port()))
        until(lambda: not live._thread.is_alive(), 10)
        with pytest.raises(ValueError, match="a mistake"):
            live.grown(recording.end)
        with pytest.raises(ValueError, match="a mistake"):
            live.close()
