"""The result of a crawl: its exit code, and the last line, which says what failed, why, and what to do. No I/O.

| what the ledger holds | exit code |
|---|---|
| no dead letter | 0 |
| dead letters, and some jobs succeeded | 3 |
| dead letters, and no job of any kind that has them succeeded | 4 |

A tombstone (protected, suspended, deleted) counts as success: the service reported it. An account without a stored
list to analyse does not. Updates are a kind of their own: years of stored timelines say nothing about today's round.
The verdict depends on the ledger alone, so that each master of a pair, and each later start, gives the same until the
letters are requeued or dropped.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocol.cli import LETTERS, NOTHING_GOT
from protocol.jobs import Job, Operation, Outcome
from protocol.settings.settings import TABLE, Settings
from protocol.text import without_secrets

MAX_REASON_LENGTH = 300
"""Characters of the most common reason that are shown."""
MAX_REASONS = 1000
"""Reasons that are distinguished; a letter with a further one counts, but for no reason."""
KINDS = (frozenset({Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE}), frozenset({Operation.UPDATE}))
"""Jobs of one kind are part of the same download."""
_NAMED_BY_TOOLS = ("output_directory", "crawl", "redis", "durability")
_LONG_NUMBER = re.compile("[0-9]{5,}")
"""An id or a time, which would make the same reason differ for each account."""


@dataclass(frozen=True, slots=True)
class CrawlVerdict:
    """How many jobs are dead letters, the most common reason and how many have it, whether any job succeeded, and
    whether updates are among the letters."""

    letters: int
    reason: str
    alike: int
    got: bool
    updates: bool = False

    @property
    def code(self) -> int:
        """The exit code of the master that led the crawl to this end."""
        if not self.letters:
            return 0
        return LETTERS if self.got else NOTHING_GOT

    def words(self, settings: Settings) -> str:
        """The last line, with the commands that show and requeue the letters, ready to be copied."""
        failed = f"{self.letters} job{'s' if self.letters != 1 else ''} failed for good"
        often = "the reason" if self.letters == 1 else "the commonest reason"
        often += "" if self.alike == self.letters else f" {self.alike} times"
        dead, requeue = command("dead", settings), command("requeue --all", settings)
        # With -U it would be a new round, over all accounts; any start resumes the waiting jobs.
        start = "the same start again" + (", without -U and its targets," if self.updates else ",")
        return (
            f"{failed if self.got else f'nothing was got: {failed}'}; {often}: {self.reason}. "
            f"`{dead}` shows them; `{requeue}`, and then {start} tries them again"
        )


def verdict_of(totals: Mapping[str, int], letters: Iterable[tuple[Job, str]]) -> CrawlVerdict:
    """The verdict on a crawl that is over, from its totals and its dead letters with their reasons."""
    examples: dict[str, str] = {}
    often: Counter[str] = Counter()
    count, dead = 0, set()
    for job, words in letters:
        count += 1
        dead.add(job.operation)
        reason = _LONG_NUMBER.sub("#", words)
        if reason in examples or len(examples) < MAX_REASONS:
            examples.setdefault(reason, words)
            often[reason] += 1
    got = any(_got(totals, operation) for kind in KINDS if kind & dead for operation in kind)
    reason, alike = often.most_common(1)[0] if often else ("", 0)
    return CrawlVerdict(count, _bounded(examples.get(reason, "")), alike, got, Operation.UPDATE in dead)


def _got(totals: Mapping[str, int], operation: Operation) -> bool:
    outcomes = (outcome.value for outcome in Outcome if outcome is not Outcome.NO_LIST)
    return any(totals.get(f"{operation.value}.{ending}", 0) for ending in ("steps", *outcomes))


def _bounded(words: str) -> str:
    said = words if words.isprintable() else words.encode("unicode_escape").decode()
    return (said if len(said) <= MAX_REASON_LENGTH else said[:MAX_REASON_LENGTH] + "…").rstrip(". ") or "none was given"


def command(what: str, settings: Settings) -> str:
    """`tmatic-master WHAT` for this crawl, for a shell. A ledger's URL that may hold a
    password, before its host or in its query, is left to the environment."""
    words = [f"tmatic-master {what}"]
    for name in _NAMED_BY_TOOLS:
        row, value = TABLE[name], getattr(settings, name)
        said = row.shown(value)
        if name == "redis" and without_secrets(said) != said:
            words.insert(0, "TMATIC_REDIS=…")
        elif name == "output_directory" or value != row.default:
            words.append(f"{row.flag} {shlex.quote(said)}")
    return " ".join(words)
