"""The plan of a fire drill: what goes wrong, when, and for how long. Nothing here touches a process.

A fault is written WHAT[:NUMBER]@WHEN[:FOR]: `master@10s`, `worker:3@20s:4s`, `redis:0@1m`. Times count from the first
completed work, so that a slow start does not disturb the drill.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from protocol.errors import UsageError

FOR_S: Final = 5.0
"""The default duration of a stop or a cut."""
SETTLE_S: Final = 10.0
"""How long a drill continues after its last fault, for the crawl to show that it resumes."""
MAX_TIME_S: Final = 86_400.0
MAX_MISHAPS: Final = 500
FORM: Final = "WHAT[:NUMBER]@WHEN[:FOR], as in worker:3@20s"

FIRST_S: Final = 3.0
RESTS_S: Final = (3.0, 9.0)
"""Between the end of a random fault and the next one."""
LASTS_S: Final = (1.0, 6.0)
MIN_RANDOM_S: Final = FIRST_S + LASTS_S[1] + SETTLE_S

_TEXT: Final = re.compile(r"(?P<what>[^:@]*)(?::(?P<number>[^:@]*))?@(?P<at>[^:@]*)(?::(?P<lasts>[^:@]*))?")
_TIME: Final = re.compile(r"(?P<count>[0-9]{1,6}(?:\.[0-9]{1,3})?)(?P<unit>ms|s|m)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


class FaultKind(Enum):
    """The kinds of faults."""

    KILL = "kill"
    STOP = "stop"
    CUT = "cut"


class FaultTarget(Enum):
    """The process that is hit, or whose link is cut."""

    MASTER = "master"
    WORKER = "worker"
    REDIS = "redis"
    EMULATOR = "emulator"
    PEER = "peer"


VICTIMS: Final = {
    FaultKind.KILL: (FaultTarget.MASTER, FaultTarget.WORKER, FaultTarget.REDIS, FaultTarget.EMULATOR),
    FaultKind.STOP: (FaultTarget.MASTER, FaultTarget.WORKER, FaultTarget.REDIS, FaultTarget.EMULATOR),
    FaultKind.CUT: (FaultTarget.REDIS, FaultTarget.PEER, FaultTarget.WORKER),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. No `number`: the leading master, the first worker, or every master's link. A kill lasts 0 s.
    Seconds."""

    kind: FaultKind
    target: FaultTarget
    number: int | None
    at_s: float
    lasts_s: float

    @property
    def name(self) -> str:
        """The kind and the target, without the times."""
        return f"{self.kind.value} {self.target.value}" + ("" if self.number is None else f":{self.number}")

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.at_s + self.lasts_s

    @property
    def flag(self) -> str:
        """The fault as written on the command line."""
        lasts = f":{self.lasts_s:g}s" if self.lasts_s else ""
        return f"--{self.name}@{self.at_s:g}s{lasts}"


@dataclass(frozen=True, slots=True)
class SetUp:
    """What can fail. `embedded`: the ledger's server is the drill's own; `relayed`: the link to it can be cut."""

    workers: int
    pair: bool
    embedded: bool = True
    relayed: bool = True


def seconds(text: str, place: str) -> float:
    """The seconds of `10s`, `1.5s`, `500ms`, `2m` or `10`. Raises UsageError, which names `place`."""
    found = _TIME.fullmatch(text)
    value = float(found["count"]) * _UNITS[found["unit"] or "s"] if found else 0.0
    if not 0 < value <= MAX_TIME_S:
        raise UsageError(f"{place}: {text[:40]!r} is no time: say 10s, 1.5s, 500ms or 2m, at most a day")
    return round(value, 3)


def parse(kind: FaultKind, text: str) -> Fault:
    """The fault that a flag's text names. Raises UsageError."""
    place = f"--{kind.value} {text[:60]}"
    found = _TEXT.fullmatch(text)
    if found is None:
        raise UsageError(f"{place} is not understood: {FORM}")
    target = next((one for one in VICTIMS[kind] if one.value == found["what"]), None)
    if target is None:
        allowed = ", ".join(one.value for one in VICTIMS[kind])
        raise UsageError(f"{place}: there is no {found['what'][:40]!r} to {kind.value}; choose one of {allowed}")
    number = None
    if found["number"] is not None:
        if not re.fullmatch(r"[0-9]{1,4}", found["number"]):
            raise UsageError(f"{place}: {found['number'][:40]!r} is no number: {FORM}")
        number = int(found["number"])
        if target in (FaultTarget.EMULATOR, FaultTarget.PEER) or (
            target is FaultTarget.REDIS and kind is not FaultKind.CUT
        ):
            raise UsageError(f"{place}: there is only one {target.value}, and it has no number")
    if kind is FaultKind.KILL and found["lasts"] is not None:
        raise UsageError(f"{place}: a kill has no length; what was killed is started again")
    lasts_s = 0.0
    if kind is not FaultKind.KILL:
        lasts_s = FOR_S if found["lasts"] is None else seconds(found["lasts"], place)
    return Fault(kind, target, number, seconds(found["at"], place), lasts_s)


def check(fault: Fault, there: SetUp) -> None:
    """Refuse what cannot happen in this set-up. Raises UsageError."""
    target, number = fault.target, fault.number
    if target is FaultTarget.PEER and not there.pair:
        raise UsageError(f"{fault.flag}: a master that is alone has no peer: leave out --single")
    if target is FaultTarget.WORKER and number is not None and not 1 <= number <= there.workers:
        raise UsageError(f"{fault.flag}: the workers are 1 to {there.workers}: choose one, or raise --workers")
    if target in (FaultTarget.MASTER, FaultTarget.REDIS) and number is not None and number > int(there.pair):
        has = "masters 0 and 1" if there.pair else "master 0 alone"
        raise UsageError(f"{fault.flag}: there is {has}")
    if target is FaultTarget.REDIS and fault.kind is not FaultKind.CUT and not there.embedded:
        raise UsageError(f"{fault.flag}: that server is your own, and others may need it: cut the way to it by --cut")
    if target is FaultTarget.REDIS and fault.kind is FaultKind.CUT and not there.relayed:
        raise UsageError(f"{fault.flag}: only the way to a server of redis:// or unix:// can be cut")


def length_of(plan: Sequence[Fault], length_s: float | None) -> float:
    """How long the drill lasts. Raises UsageError for a fault after its end."""
    if length_s is None:
        return max(fault.end_s for fault in plan) + SETTLE_S
    for fault in plan:
        if fault.end_s > length_s:
            raise UsageError(f"{fault.flag}: the drill is over at {length_s:g} s: raise --length, or leave it out")
    return length_s


def random_plan(length_s: float, seed: int, there: SetUp) -> tuple[Fault, ...]:
    """Consecutive faults, drawn from the seed: the same for the same length, seed and set-up. Raises UsageError for a
    drill that is too short for one."""
    if length_s < MIN_RANDOM_S:
        raise UsageError(f"--random {length_s:g}s: a random drill lasts at least {MIN_RANDOM_S:g} s")
    chance = random.Random(f"{seed} {length_s:g} {there}")
    plan: list[Fault] = []
    at_s = FIRST_S
    while at_s + LASTS_S[1] + SETTLE_S <= length_s and len(plan) < MAX_MISHAPS:
        kind, target = chance.choice(_possible(there))
        lasts_s = 0.0 if kind is FaultKind.KILL else round(chance.uniform(*LASTS_S), 1)
        number = chance.randint(1, there.workers) if target is FaultTarget.WORKER else None
        plan.append(Fault(kind, target, number, at_s, lasts_s))
        at_s = round(at_s + lasts_s + chance.uniform(*RESTS_S), 1)
    return tuple(plan)


def _possible(there: SetUp) -> list[tuple[FaultKind, FaultTarget]]:
    """The possible faults; those of the crawler's own processes are drawn more often than the emulator's."""
    found = [(kind, FaultTarget.MASTER) for kind in (FaultKind.KILL, FaultKind.KILL, FaultKind.STOP)]
    found += [(kind, FaultTarget.WORKER) for kind in (FaultKind.KILL, FaultKind.STOP, FaultKind.CUT)]
    found += [(kind, FaultTarget.REDIS) for kind in (FaultKind.KILL, FaultKind.STOP) if there.embedded]
    found += [(FaultKind.CUT, FaultTarget.REDIS)] * (2 if there.relayed else 0)
    found += [(FaultKind.CUT, FaultTarget.PEER)] if there.pair else []
    return [*found, (FaultKind.KILL, FaultTarget.EMULATOR)]


def pages_allowed(fault: Fault, workers: int, concurrency: int) -> int:
    """How many pages it may cause to be fetched again: one for each job that ran in the killed process. The leases of a
    stopped or cut-off worker may lapse; requests to a stalled service are retried. Any other stop or cut costs time,
    and no page."""
    if fault.target is FaultTarget.WORKER:
        return concurrency
    if fault.kind is FaultKind.KILL or fault.target is FaultTarget.EMULATOR:
        return workers * concurrency
    return 0
