"""What goes wrong in a simulated cluster, and when: drawn from the seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.cluster import Simulation
    from tests.simulation.simulated_master import SimulatedMaster

HORIZON_S = 20.0
PAIR_FAULTS = 12
"""Faults that only a pair has, on top of the others."""


def draw_faults(cluster: Simulation) -> None:
    """Put every fault of the seed on the clock."""
    from tests.simulation.cluster import FAULTS

    for _ in range(FAULTS):
        cluster.after(cluster.chance.random() * HORIZON_S, cluster.chance.choice(_faults(cluster)))
    if cluster.paired:
        for _ in range(PAIR_FAULTS):
            cluster.after(cluster.chance.random() * HORIZON_S, cluster.chance.choice(_pair_faults(cluster)))


def _faults(cluster: Simulation) -> list[Callable[[], None]]:
    """What can go wrong anywhere, each as likely as it is listed."""
    gentle: list[Callable[[], None]] = [
        lambda: _frames(cluster, "drop_next"),
        lambda: _frames(cluster, "double_next"),
        lambda: _frames(cluster, "delay_next"),
        lambda: _cut_reply(cluster, "before"),
        lambda: _cut_reply(cluster, "after"),
        lambda: _cut_reply(cluster, "late"),
        lambda: _service_fails(cluster),
        lambda: _answers_are_lost(cluster),
    ]
    if cluster.gentle:
        return gentle
    return [
        *gentle,
        lambda: _cut_reply(cluster, "die"),
        lambda: _cut_reply(cluster, "die"),
        lambda: _kill_master(cluster),
        lambda: _kill_mid_outbox(cluster),
        lambda: _kill_worker(cluster),
        lambda: _kill_worker(cluster),
        lambda: _roll_back(cluster),
    ]


def _pair_faults(cluster: Simulation) -> list[Callable[[], None]]:
    """What can go wrong with two masters."""
    return [
        lambda: _stop(cluster),
        lambda: _stop(cluster),
        lambda: _cut(cluster, "m0", "m1"),
        lambda: _cut(cluster, _any_master(cluster).name, "redis"),
        lambda: _cut(cluster, _any_master(cluster).name, "redis"),
        lambda: _cut_workers(cluster),
        lambda: _stall(cluster),
        lambda: _promote(cluster),
    ]


def _any_master(cluster: Simulation) -> SimulatedMaster:
    return cluster.chance.choice(cluster.masters)


def _frames(cluster: Simulation, what: str) -> None:
    cluster.coverage[f"fault {what}"] += 1
    setattr(cluster, what, getattr(cluster, what) + cluster.chance.randint(1, 6))


def _service_fails(cluster: Simulation) -> None:
    cluster.coverage["fault service"] += 1
    cluster.service.fail_next += cluster.chance.randint(1, 5)


def _answers_are_lost(cluster: Simulation) -> None:
    """The service counts what it is asked, and its answers do not arrive."""
    cluster.coverage["fault answer lost"] += 1
    cluster.service.lose_next += cluster.chance.randint(1, 5)


def _cut_reply(cluster: Simulation, when: str) -> None:
    cluster.coverage[f"fault ledger {when}"] += 1
    cluster.cut_reply = when
    cluster.kills += when == "die"


def _kill_master(cluster: Simulation) -> None:
    """kill -9 of the leader, or of the other one."""
    cluster.coverage["fault kill master"] += 1
    cluster.kills += 1
    _any_master(cluster).kill()


def _kill_mid_outbox(cluster: Simulation) -> None:
    """A master dies after it sent only some of what it had to say."""
    cluster.coverage["fault kill mid outbox"] += 1
    cluster.kills += 1
    cluster.cut_outbox = cluster.chance.randint(0, 3)


def _kill_worker(cluster: Simulation) -> None:
    cluster.coverage["fault kill worker"] += 1
    cluster.kills += 1
    cluster.chance.choice(cluster.workers).kill()


def _roll_back(cluster: Simulation) -> None:
    """The ledger's server lost its last writes. Not after it took the end of a crawl from the only master: that
    one leaves, and nobody is there to notice; whoever starts it again goes on."""
    if not cluster.paired and cluster.ledger.observe().ended:
        return
    cluster.coverage["fault roll back"] += 1
    cluster.rollbacks += 1
    keep = max(1, len(cluster.ledger.writes) - cluster.chance.randint(1, 12))
    cluster.ledger.roll_back(keep)
    cluster.acknowledged.clear()
    cluster.trusted_from = cluster.now + 10.0  # verdicts from before may still be on their way


def _stop(cluster: Simulation) -> None:
    """SIGSTOP of a master, and SIGCONT later."""
    cluster.coverage["fault stop master"] += 1
    _any_master(cluster).stop(0.2 + cluster.chance.random() * 5)


def _cut(cluster: Simulation, one: str, other: str) -> None:
    one_way = cluster.chance.random() < 0.4
    if one_way and cluster.chance.random() < 0.5:
        one, other = other, one
    cluster.coverage[f"fault cut {one[0]}-{other[0]}{' one way' if one_way else ''}"] += 1
    cluster.cut(one, other, 0.5 + cluster.chance.random() * 5, one_way=one_way)


def _cut_workers(cluster: Simulation) -> None:
    """No worker reaches one master, while all reach the other."""
    cluster.coverage["fault cut workers"] += 1
    master, one_way = _any_master(cluster).name, cluster.chance.random() < 0.4
    seconds = 0.5 + cluster.chance.random() * 8
    for worker in cluster.workers:
        cluster.cut(worker.name, master, seconds, one_way=one_way)


def _stall(cluster: Simulation) -> None:
    """The ledger's server stands still."""
    cluster.coverage["fault stall"] += 1
    cluster.redis_stalled_until = max(cluster.redis_stalled_until, cluster.now + 0.1 + cluster.chance.random() * 3)


def _promote(cluster: Simulation) -> None:
    cluster.coverage["fault promote"] += 1
    master = _any_master(cluster)
    if master.alive and cluster.now >= master.stopped_until:
        master.member.promote(master.now)
