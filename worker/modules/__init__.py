"""The operations of a worker, and the module of each."""

from __future__ import annotations

from protocol.jobs import Operation
from storage.dataset.interface import Dataset
from worker.client.attempt_counter import AttemptCounter
from worker.modules.analyzer import Analyzer, Rule
from worker.modules.follower import Follower
from worker.modules.module import Module
from worker.modules.timeline import Timeline
from worker.modules.update import Update


def modules(dataset: Dataset, rule: Rule, profiles_at_once: int) -> dict[Operation, Module]:
    """One of each."""
    patience = AttemptCounter()
    return {
        Operation.TIMELINE: Timeline(patience),
        Operation.FOLLOWER: Follower(patience),
        Operation.ANALYSE: Analyzer(dataset, rule, profiles_at_once),
        Operation.UPDATE: Update(dataset, patience),
    }
