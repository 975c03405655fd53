"""The checks before a crawl is begun or resumed, made before anything is created or started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from master.frontier.plan import check_operations
from master.frontier.seed_files import SeedLines
from protocol.child_commands import child, end_with
from protocol.errors import UsageError
from protocol.jobs import Operation
from protocol.settings.settings import Settings
from protocol.stopping import uncut
from storage.dataset.open import open_dataset

RULE_READ_S = 60.0


def check_beginning(
    settings: Settings,
    asked: frozenset[Operation],
    stream: SeedLines | None,
    seeds: SeedLines | None,
    *,
    adopt: bool,
    named_by: str,
) -> None:
    """Raises UsageError for visible mistakes: files that cannot be read, operations that exclude each other, and a new
    crawl that has nothing to do. `named_by` is how the current command takes targets."""
    for file in (stream, seeds):
        if file is not None:
            file.check()
    check_operations(asked)
    # What --adopt resumes, and what the peer has begun meanwhile, is known when the lead is taken.
    new = open_dataset(settings).ledger_id(settings.crawl) is None and not adopt
    if not new:
        return
    if stream is not None and (why := stream.none()):
        raise UsageError(f"{stream.path} names no account: {why}")
    if settings.ha:
        return
    if not asked:
        check_operations(asked, new=True)
    if stream is None:
        raise UsageError(
            f"{settings.output_directory} holds no crawl named {settings.crawl}, and a new one needs targets: "
            f"name a file of ids by {named_by}, or the crawl to go on with by --output"
        )


def check_rule(settings: Settings) -> None:
    """Raises UsageError for a rule that the workers would refuse."""
    if not settings.follow_rule:
        return
    # As a worker parses it, in a separate process, since a rule may be any user's module.
    command = child("worker.rules", settings.follow_rule)
    reader = None
    try:
        with uncut():
            reader = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="locale",
                errors="replace",
                preexec_fn=end_with(os.getpid()),
            )
        _, said = reader.communicate(timeout=RULE_READ_S)
    except subprocess.TimeoutExpired as error:
        rule = settings.follow_rule
        raise UsageError(f"--follow-rule {rule} cannot be imported: it takes over {RULE_READ_S:g} s") from error
    finally:
        if reader is not None and reader.returncode is None:
            reader.kill()
            reader.wait()
    if reader.returncode:
        raise UsageError((said.strip().splitlines() or ["--follow-rule cannot be read"])[-1])


def lines_of(name: str | None, called: str) -> SeedLines | None:
    """The file named on the command line; None where none was given. Raises UsageError for an empty name."""
    if name is None:
        return None
    if not name:
        raise UsageError(f"{called} is empty: name a file of ids, or leave it out")
    return SeedLines(Path(name))
