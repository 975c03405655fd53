"""What a worker is answered that speaks of a token which the ledger does not hold. That the ledger calls it stale is
tested with the ledger."""

from __future__ import annotations

import random

import pytest

from master.dispatch.dispatcher import Dispatch
from master.dispatch.snapshot import Snapshot
from master.frontier.traversal import Traversal, Traversing
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.jobs import Operation
from storage.ledger.ledger import STALE, Lead, Reply
from storage.ledger.transitions import Discover

GONE = "incarnation:7"
SAID: list[tuple[wire.Message, int]] = [
    (wire.ProgressMade([wire.Step(GONE, 3, 9, "c", 0, [], 1)], []), 3),
    (wire.Result([wire.End(GONE, wire.DONE, 4, 9, "complete", [], 1, "")], []), 4),
    (wire.Result([wire.End(GONE, wire.LIMITED, 0, 9, "", [], 1, "")], []), 0),
    (wire.Result([wire.End(GONE, wire.FAILED, 0, 9, "", [], 1, "why")], []), 0),
]


@pytest.mark.parametrize(("said", "step"), SAID, ids=["page", "done", "limited", "failed"])
def test_whatever_is_said_of_a_token_that_is_not_held_is_stale_under_its_own_step(
    said: wire.Message, step: int
) -> None:
    walk = Traversal((Operation.TIMELINE,), Traversing.BFS)
    empty = Reply([], {}, {}, 0, 0, 0, 0)
    lead = Lead("incarnation", 1, 3, "id", "master")
    leader = Dispatch(lead, walk, CrawlPolicy(), Snapshot({}, {}, empty), 0.0, random.Random(1))
    leader.receive(0, b"w1", wire.Hello("w1", "run1", "twitter", ["T"], 1, [], [], []))
    leader.outbox = []
    leader.receive(0, b"w1", said)
    assert leader.next_batch(0) == [Discover(GONE, step)]
    leader.committed(0, Reply([STALE], {}, {}, 0, 0, 0, 0))
    assert leader.outbox == [(b"w1", wire.Committed(3, [wire.Verdict(GONE, step, wire.STALE, 0)]))]
