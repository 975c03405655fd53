"""The diagram of the election in `docs/architecture.md`, drawn from the table that is the election.

`python -m tests.docs.election_diagram` writes it anew.
"""

from __future__ import annotations

from master.leadership.election import TABLE, Act, Role
from tests.checkout import ROOT

PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- election: drawn from master/leadership/election.py -->\n", "<!-- election: end -->\n"


def diagram() -> str:
    """A mermaid state diagram: an arrow for each event that changes the role or asks for something."""
    states = {role: role.name.lower() for role in Role}
    rows = ["```mermaid", "stateDiagram-v2", f"    [*] --> {states[Role.STANDBY]}"]
    rows += [f"    {states[role]} : {role.value}" for role in Role]
    for (before, event), (after, act) in TABLE.items():
        if before is after and act is Act.WAIT:
            continue
        rows.append(f"    {states[before]} --> {states[after]} : {event.value}")
    rows += [f"    {states[Role.OVER]} --> [*]", "```", ""]
    return "\n".join(rows)


def with_diagram(page: str) -> str:
    """The page with the diagram as it should be."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{diagram()}{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text()))
