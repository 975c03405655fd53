"""The diagrams in `docs/architecture.md` that are drawn from the tables that decide.

`python -m tests.docs.state_diagrams` writes them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from master.dispatch import leases
from master.leadership import election
from tests.checkout import ROOT
from worker import held_leases

PAGE = ROOT / "docs" / "architecture.md"


@dataclass(frozen=True)
class Diagram:
    """One of them. `idle` is the act of an arrow that is left out where it leads back to its state."""

    name: str
    source: str
    table: Mapping[tuple[Any, Any], tuple[Any, Any]]
    first: Enum
    last: Enum
    idle: Enum

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}: drawn from {self.source} -->\n"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}: end -->\n"

    def drawn(self) -> str:
        """A mermaid state diagram: an arrow for each event that changes the state or asks for something."""
        states = {state: state.name.lower() for state in type(self.first)}
        rows = ["```mermaid", "stateDiagram-v2", f"    [*] --> {states[self.first]}"]
        rows += [f"    {states[state]} : {state.value}" for state in type(self.first)]
        for (before, event), (after, act) in self.table.items():
            if before is not after or act is not self.idle:
                rows.append(f"    {states[before]} --> {states[after]} : {event.value}")
        rows += [f"    {states[self.last]} --> [*]", "```", ""]
        return "\n".join(rows)


DIAGRAMS = (
    Diagram(
        "election",
        "master/leadership/election.py",
        election.TABLE,
        election.Role.STANDBY,
        election.Role.OVER,
        election.Act.WAIT,
    ),
    Diagram(
        "lease",
        "master/dispatch/leases.py",
        leases.TABLE,
        leases.LeaseState.HELD,
        leases.LeaseState.OVER,
        leases.LeaseAct.IGNORE,
    ),
    Diagram(
        "held lease",
        "worker/held_leases.py",
        held_leases.TABLE,
        held_leases.HeldState.RUNNING,
        held_leases.HeldState.OVER,
        held_leases.HeldAct.NOTHING,
    ),
)


def with_diagrams(page: str) -> str:
    """The page with the diagrams as they should be."""
    for diagram in DIAGRAMS:
        head, _, rest = page.partition(diagram.begin)
        _, _, tail = rest.partition(diagram.end)
        page = f"{head}{diagram.begin}{diagram.drawn()}{diagram.end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_diagrams(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
