"""The plan of a crawl, its form in the ledger, and the effect of resuming with other flags. No I/O.

| resumed with | effect |
|---|---|
| the same flags, or none | it resumes |
| an additional operation | every known account gets it, once |
| an operation less | nothing is removed; what was started is finished |
| `-U` | another round of updates, over the stream or over every account; an unfinished round resumes instead |
| another `--traversing` or `--depth` | refused: what was passed over then is unknown |
| another `--max-users` | applies from the restart on |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from master.frontier.traversal import Traversal, Traversing
from protocol.errors import UsageError
from protocol.jobs import CHAIN_ORDER, Operation

SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Plan:
    """The current plan. `widening` are operations that known accounts have still to be given.

    `edition` counts widenings and `round` rounds of updates, so that each has its own set of accounts that had it;
    `everyone`: the round is over all accounts, and not over a stream.
    """

    operations: tuple[Operation, ...]
    traversing: Traversing
    depth: int
    widening: tuple[Operation, ...] = ()
    edition: int = 0
    round: int = 0
    updating: bool = False
    everyone: bool = False

    @property
    def traversal(self) -> Traversal:
        """The order in which the graph is crawled."""
        return Traversal(self.operations, self.traversing, self.depth)

    @property
    def widening_family(self) -> str:
        """The set of accounts that have been given the added operations."""
        return f"widened{self.edition}"

    @property
    def round_family(self) -> str:
        """The set of accounts that are in this round of updates."""
        return f"updated{self.round}"

    def remembered(self) -> dict[str, str]:
        """What the ledger stores of it."""
        return {
            "operations": _letters(self.operations),
            "traversing": self.traversing.value,
            "depth": str(self.depth),
            "widening": _letters(self.widening),
            "edition": str(self.edition),
            "round": str(self.round),
            "updating": "yes" if self.updating else "",
            "everyone": "yes" if self.everyone else "",
        }

    def widened(self) -> Plan:
        """The plan when every known account has been given the added operations."""
        return replace(self, widening=())

    def updated(self) -> Plan:
        """The plan when a round of updates is over."""
        return replace(self, updating=False, everyone=False)


def recall(kept: Mapping[str, str]) -> Plan | None:
    """The plan stored in a ledger, None for a new crawl."""
    if "operations" not in kept:
        return None
    return Plan(
        tuple(map(Operation, kept["operations"])),
        Traversing(kept["traversing"]),
        int(kept["depth"]),
        tuple(map(Operation, kept["widening"])),
        int(kept["edition"]),
        int(kept["round"]),
        bool(kept["updating"]),
        bool(kept.get("everyone")),
    )


def check_operations(asked: frozenset[Operation], *, new: bool = False) -> None:
    """Raises UsageError for operations that exclude each other, and for none in a new crawl."""
    if Operation.UPDATE in asked and len(asked) > 1:
        raise UsageError("-U stands alone: update in a run of its own, when the others are done")
    if new and not asked:
        raise UsageError("say what to do with each account: at least one of -T, -F, -A, or -U alone")


def resume(
    kept: Plan | None,
    asked: frozenset[Operation],
    traversing: Traversing,
    depth: int,
    *,
    known: bool,
    streaming: bool = False,
) -> Plan:
    """The plan that follows from the stored and the requested one. `known`: the crawl has accounts already;
    `streaming`: it is given a stream.

    Raises UsageError, with the reason, for plans that cannot be combined.
    """
    check_operations(asked, new=kept is None)
    updating = Operation.UPDATE in asked
    chain = tuple(operation for operation in CHAIN_ORDER if operation in asked)
    if kept is None:
        if not streaming:
            raise UsageError("a new crawl needs targets: name a file of ids, or the crawl to go on with by --output")
        return Plan(chain, traversing, depth, round=int(updating), updating=updating)
    if updating:
        everyone = not streaming or (kept.updating and kept.everyone)
        return replace(kept, round=kept.round + (not kept.updating), updating=True, everyone=everyone)
    if not chain:
        return kept
    if kept.operations and (traversing is not kept.traversing or depth != kept.depth):
        raise UsageError(
            f"this crawl was begun with --traversing {kept.traversing.value} --depth {kept.depth}, and what it passed "
            "over then is not known any more: keep both, or begin another crawl by --crawl NAME"
        )
    new = tuple(operation for operation in chain if operation not in kept.operations)
    if not kept.operations:
        return replace(kept, operations=chain, traversing=traversing, depth=depth)
    if not new:
        return kept
    operations = tuple(operation for operation in CHAIN_ORDER if operation in (*kept.operations, *new))
    if not known:
        return replace(kept, operations=operations)
    widening = tuple(operation for operation in CHAIN_ORDER if operation in (*kept.widening, *new))
    return replace(kept, operations=operations, widening=widening, edition=kept.edition + (not kept.widening))


def _letters(operations: tuple[Operation, ...]) -> str:
    return "".join(operation.value for operation in operations)
