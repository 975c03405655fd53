"""Injects the planned faults: kill -9, SIGSTOP and SIGCONT, and cut links. Each stop or cut is undone when it is due.

A victim that is absent when its fault is due, since it is being restarted, is waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from master.crawl.supervision import SupervisedProcess
from master.rehearsal.fault_plan import Fault, FaultKind, FaultTarget
from master.rehearsal.fault_proxy import FaultProxies
from storage.ledger.embedded import EmbeddedValkey


@dataclass(slots=True)
class FaultReach:
    """What a drill controls. `leader` returns the master that leads, or led last; `before_kill` is called with the
    victim of each kill."""

    masters: list[SupervisedProcess]
    workers: list[SupervisedProcess]
    emulators: list[SupervisedProcess]
    server: EmbeddedValkey | None
    links: FaultProxies
    leader: Callable[[], int]
    before_kill: Callable[[FaultTarget], None]


@dataclass(slots=True)
class InjectedFault:
    """A fault that occurred: when, and its actual victim. Seconds of the drill."""

    fault: Fault
    at_s: float
    whom: str


@dataclass(slots=True)
class FaultInjector:
    """Injects the faults of a plan, each at its time."""

    plan: Sequence[Fault]
    reach: FaultReach
    injected: list[InjectedFault] = field(default_factory=list)
    _to_come: list[Fault] = field(init=False)
    _to_mend: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._to_come = sorted(self.plan, key=lambda fault: fault.at_s)

    @property
    def next(self) -> Fault | None:
        """The next fault."""
        return self._to_come[0] if self._to_come else None

    @property
    def to_come(self) -> list[Fault]:
        """Faults that have not occurred yet."""
        return list(self._to_come)

    @property
    def busy(self) -> bool:
        """Whether a fault is still to be injected or undone."""
        return bool(self._to_come or self._to_mend)

    def turn(self, at_s: float) -> list[InjectedFault]:
        """Undo and inject what is due. Returns the faults injected."""
        for due in [due for due in self._to_mend if due[0] <= at_s]:
            self._to_mend.remove(due)
            due[1]()
        came = []
        for fault in [fault for fault in self._to_come if fault.at_s <= at_s]:
            done = self._strike(fault)
            if done is not None:
                whom, mend = done
                self._to_come.remove(fault)
                self._to_mend += [(at_s + fault.lasts_s, mend)] if mend is not None else []
                came.append(InjectedFault(fault, at_s, whom))
        self.injected += came
        return came

    def mend_all(self) -> None:
        """Undo every remaining stop and cut: the drill is over."""
        for _, mend in self._to_mend:
            mend()
        self._to_mend = []

    def _strike(self, fault: Fault) -> tuple[str, Callable[[], None] | None] | None:
        """The victim and how to undo the fault; None while there is no victim."""
        if fault.kind is FaultKind.CUT:
            return self._cut(fault)
        whom, pid = self._find(fault)
        if pid is None:
            return None
        if fault.kind is FaultKind.KILL:
            self.reach.before_kill(fault.target)
            os.kill(pid, signal.SIGKILL)
            return whom, None
        os.kill(pid, signal.SIGSTOP)
        return whom, lambda: _go_on(pid)

    def _find(self, fault: Fault) -> tuple[str, int | None]:
        """The name and the process of a victim, if it runs."""
        reach = self.reach
        if fault.target is FaultTarget.REDIS:
            server = reach.server
            return "the ledger's server", server.pid if server is not None and server.alive() else None
        if fault.target is FaultTarget.MASTER:
            kept = reach.masters[reach.leader() if fault.number is None else fault.number]
        elif fault.target is FaultTarget.WORKER:
            kept = reach.workers[(fault.number or 1) - 1]
        else:
            kept = reach.emulators[0]
        alive = kept.process is not None and kept.process.poll() is None
        return kept.name, kept.process.pid if kept.process is not None and alive else None

    def _cut(self, fault: Fault) -> tuple[str, Callable[[], None]]:
        names = links_of(fault, len(self.reach.masters))
        for name in names:
            self.reach.links.cut(name)
        if fault.target is FaultTarget.PEER:
            whom = "the masters from each other"
        elif fault.target is FaultTarget.WORKER:
            whom = f"worker {fault.number or 1} from every master"
        elif fault.number is None and len(names) > 1:
            whom = "both masters from the ledger"
        else:
            whom = f"master {fault.number or 0} from the ledger"

        def mend() -> None:
            for name in names:
                self.reach.links.mend(name)

        return whom, mend


def links_of(fault: Fault, masters: int) -> list[str]:
    """The names of the links that a cut cuts."""
    if fault.target is FaultTarget.WORKER:
        return [f"worker-{fault.number or 1}-{n}" for n in range(masters)]
    if fault.target is FaultTarget.REDIS and fault.number is not None:
        return [f"redis-{fault.number}"]
    return [f"{fault.target.value}-{n}" for n in range(masters)]


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was killed meanwhile
        os.kill(pid, signal.SIGCONT)
