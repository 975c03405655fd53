"""`tmatic-master`: leads a crawl, and shows its state."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from master.admin.locate_masters import Masters, leader_of
from master.admin.reading import reading
from master.admin.status import letters_of, line
from master.audit.audit import Audit, audit
from master.audit.reopening import reopen
from master.audit.repair import Repaired, repair
from master.commands.dead_letters import letters_commands
from master.commands.keys import keys
from master.dropped_frames import rows as rows_of_dropped
from master.events.subscribers import Readers
from master.frontier.plan import recall
from master.frontier.seed_files import SeedLines
from master.frontier.traversal import COLLECTED, Traversing
from master.leadership.takeover import TakeoverRequest
from master.process import LEADING, lead
from master.startup.open_crawl import OpenCrawl
from protocol.cli import run
from protocol.errors import LedgerError
from protocol.jobs import OPERATIONS, Operation
from protocol.logs import set_up
from protocol.settings.configuration import settings_options
from protocol.settings.settings import Settings
from protocol.streams import is_screen
from storage.dataset.files.dataset import SET_ASIDE
from storage.ledger.job_codec import unpack_job

ASKING = ("crawl", "output_directory", "redis", "durability", "host", "port", "keys_directory", "insecure")
PROMOTED_S = 10.0
PROMOTED_LOOK_S = 0.05
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")


@click.group(invoke_without_command=True)
@click.option("-T", "timeline", is_flag=True, help="Download timelines.")
@click.option("-F", "follower", is_flag=True, help="Download follower lists.")
@click.option("-A", "analyse", is_flag=True, help="Look the followers up, and find the next accounts among them.")
@click.option("-U", "update", is_flag=True, help="Download what is newer than what is there. Stands alone.")
@click.option("--stream", metavar="FILE", help="The targets: one id a line, # for comments, plain or gzip.")
@click.option("--seeds", metavar="FILE", help="Accounts that are known already, and never to be discovered.")
@click.option("--adopt", is_flag=True, help="Go on with a ledger that this dataset does not know.")
@click.option("--stay", is_flag=True, help="When all is done, stay for those who listen, until told to stop.")
@settings_options(*LEADING)
@click.pass_context
def tmatic_master(
    context: click.Context,
    timeline: bool,
    follower: bool,
    analyse: bool,
    update: bool,
    stream: str | None,
    seeds: str | None,
    adopt: bool,
    stay: bool,
    settings: Settings,
) -> None:
    """Lead a crawl: hand out jobs to workers, and keep in a ledger what became of each.

    \b
    tmatic-master -T -F -A --stream targets.txt --output data    a new crawl, or the same one again
    tmatic-master --output data                                  go on where it stopped
    tmatic-master -U --output data                               fetch what is newer, for every account
    tmatic-master status --output data                           how it stands
    tmatic-master --ha 0 ... and tmatic-master --ha 1 ...        a pair: when one dies the other leads at once

    Without --redis the ledger is an embedded Valkey in the output directory: nothing to install.
    Ctrl-C stops cleanly; a second one stops now; neither loses anything.

    The exit code is 0 when all is done, 3 when jobs failed for good (dead letters), 4 when nothing was got at all.
    """
    if context.invoked_subcommand is not None:
        return
    set_up("tmatic-master", settings)
    given = {Operation.TIMELINE: timeline, Operation.FOLLOWER: follower, Operation.ANALYSE: analyse}
    asked = frozenset(operation for operation, said in {**given, Operation.UPDATE: update}.items() if said)
    files = [SeedLines(Path(name)) if name else None for name in (stream, seeds)]
    for file in files:
        if file is not None:
            file.check()
    request = TakeoverRequest(asked, Traversing(settings.traversing), settings.depth, files[0], files[1], adopt, stay)
    context.exit(lead(settings, request))


def _print(document: Any, as_json: bool, text: Callable[[], str]) -> None:
    click.echo(json.dumps(document, indent=1) if as_json else text())


@tmatic_master.command()
@AS_JSON
@settings_options(*ASKING)
def status(as_json: bool, settings: Settings) -> None:
    """How a crawl stands: one that runs is asked, one that rests is read."""
    masters = Masters(settings)
    states = masters.answering()
    if not states:
        with reading(settings) as opened:
            states = masters.found(opened.ledger) or {"": _at_rest(opened, masters)}
    states = masters.with_standby(states)
    leader = leader_of(states)
    assert leader is not None, "there is one state at least"
    told = {place or "here": said["dropped"] for place, said in states.items() if said.get("dropped")}
    state = {**states[leader], "dropped_by": told}
    _print(state, as_json, lambda: "\n".join([_status_text(state), *rows_of_dropped(told)]))


def _at_rest(opened: OpenCrawl, masters: Masters) -> dict[str, Any]:
    """The state of a crawl from its ledger: of one at rest, or of one whose master is not reached."""
    ledger, led = opened.ledger, masters.unreached is not None
    totals, plan = ledger.totals(), recall(ledger.remembered())
    lengths = {name: ledger.length(name) for name in ledger.queue_names()}
    held = list(ledger.held().values())
    operations = {}
    for operation, words in OPERATIONS.items():
        letter = operation.value
        operations[words.name] = {
            "waiting": sum(length for queue, length in lengths.items() if queue.startswith(letter)),
            "parked": lengths.get(f"front:{letter}", 0),
            "ongoing": sum(lease.job.operation is operation for lease in held),
            "completed": totals.get(f"{letter}.done", 0),
            "dead": letters_of(totals, letter),
            "pages": totals.get(f"{letter}.pages", 0),
            "records": totals.get(f"{letter}.records", 0),
        }
    seen, head = ledger.observe(), ledger.heads().get("", 0)
    return {
        "crawl": opened.settings.crawl,
        "state": "running" if led else "resting" if plan else "empty",
        "trouble": masters.unreached_words,
        "leader": {"name": seen.name, "epoch": seen.epoch, "incarnation": seen.incarnation},
        "plan": plan.remembered() if plan else {},
        "operations": operations,
        "accounts": ledger.sizes().get("seen", (0, 0))[0],
        "collected": lengths.get(COLLECTED, 0),
        "resting": len(ledger.retry()),
        "dead": [
            {"operation": job.operation.value, "user": job.user, "tries": job.progress.tries, "why": words}
            for job, words in ledger.dead()
        ],
        "rates": {},
        "consumers": Readers(ledger.readers()).lags(head),
        "log": {"head": head},
        "totals": dict(sorted(totals.items())),
        "workers": [],
    }


def _status_text(state: dict[str, Any]) -> str:
    if "operations" not in state:
        head = f"crawl {state['crawl']}: {state['state']}: {state.get('trouble', '')}".rstrip(": ")
        return "\n".join([head, *_pair_rows(state)])
    plan, dead = state["plan"], state["dead"]
    shown = {**state, "dead": len(dead) if isinstance(dead, list) else dead}
    rows = [f"crawl {state['crawl']}: {state['state']}, {state['accounts']} accounts, {plan.get('traversing', '')}"]
    rows += [state["trouble"]] if state.get("trouble") else []
    rows += _pair_rows(state)
    rows.append(line(shown))
    rows.append(f"{'':10}{'waiting':>9}{'parked':>9}{'ongoing':>9}{'done':>9}{'dead':>9}{'pages':>10}{'records':>12}")
    for words in OPERATIONS.values():
        o = state["operations"][words.name]
        numbers = f"{o['waiting']:9}{o['parked']:9}{o['ongoing']:9}{o['completed']:9}{o['dead']:9}"
        rows.append(f"{words.name:10}{numbers}{o['pages']:10}{o['records']:12}")
    rows += [
        f"worker {w['name']}: {len(w['jobs'])} of {w['room']} jobs, {w['completed']} done" for w in state["workers"]
    ]
    rows += [f"reader {r['name']}: {r['lag']} announcements behind" for r in state.get("consumers", ())]
    if isinstance(dead, list):
        rows += [f"dead: {d['operation']} {d['user']} after {d['tries']} tries: {d['why']}" for d in dead[:20]]
    return "\n".join(rows)


def _pair_rows(state: dict[str, Any]) -> list[str]:
    """The rows about a pair: the leader, the state of its peer, and the takeovers."""
    pair = state.get("pair")
    if pair is None:
        return []
    other = "silent" if pair["peer_silent"] else "leading" if pair["peer_leads"] else "standing by"
    role, epoch = state["role"], state["epoch"]
    rows = [
        f"master {pair['number']} at {pair['address']}: {role}, epoch {epoch}, beat {state['beat']}, "
        f"{pair['workers_known']} workers known; master {1 - pair['number']} at {pair['peer']}: {other}"
    ]
    if state["takeovers"]:
        last = state["takeovers"][-1]
        rows.append(f"took the lead {last['ago_s']:.0f} s ago, in epoch {last['epoch']}: {last['why']}")
    return rows


@tmatic_master.command()
@AS_JSON
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many.")
@settings_options(*ASKING)
def frontier(as_json: bool, limit: int, settings: Settings) -> None:
    """What waits, the next first: operation, account, depth, parent; collected accounts follow, one id a line."""
    rows: list[dict[str, Any]] = []
    with reading(settings) as opened:
        for name in sorted(opened.ledger.queue_names(), key=lambda queue: (not queue.startswith("front:"), queue)):
            for record in opened.ledger.queue(name):
                if len(rows) >= limit:
                    break
                if name == COLLECTED:
                    rows.append({"user": record.decode()})
                    continue
                job = unpack_job(record)
                row = {"operation": job.operation.value, "user": job.user, "depth": job.depth, "parent": job.parent}
                rows.append(row)
    _print(rows, as_json, lambda: "\n".join(" ".join(str(value) for value in row.values()).rstrip() for row in rows))


@tmatic_master.command()
@AS_JSON
@settings_options(*ASKING)
def drain(as_json: bool, settings: Settings) -> None:
    """Let a running crawl finish what is in hand and stop; start the master again to go on."""
    masters = Masters(settings)
    leader, _ = masters.leader("there is nothing to drain")
    state = masters.ask([leader], "drain").get(leader)
    if state is None:
        raise LedgerError(f"the master at {leader} did not answer: ask again")
    _print(state, as_json, lambda: "draining: " + _status_text(state))


@tmatic_master.command()
@click.option("--ha", "number", type=click.Choice(["0", "1"]), help="Which of the pair is to lead; else the other one.")
@settings_options(*ASKING)
def promote(number: str | None, settings: Settings) -> None:
    """Hand the lead of a pair over, on purpose; workers keep what they hold."""
    deadline = time.monotonic() + PROMOTED_S
    masters = Masters(settings)
    before, states = masters.leader("there is nobody to hand over")
    state = states[before]
    if number is not None and state.get("role") == "leading" and state.get("pair", {}).get("number") == int(number):
        click.echo(f"the master at {before} leads already")
        return
    masters.ask([before], "promote")
    while time.monotonic() < deadline:
        states = masters.answering()
        now = leader_of(states)
        if now is not None and now != before and states[now].get("role") == "leading":
            click.echo(f"the master at {now} leads, in epoch {states[now]['epoch']}")
            return
        time.sleep(PROMOTED_LOOK_S)
    raise LedgerError(f"the lead did not change hands within {PROMOTED_S:g} s; `tmatic-master status` says why")


@tmatic_master.command("audit")
@AS_JSON
@click.option("--fast", is_flag=True, help="Trust the receipts, and do not count the records of every file.")
@click.option(
    "--repair",
    "repairing",
    is_flag=True,
    help="Give a job to what is nowhere or damaged, set counts right, bring back what is open; it must rest.",
)
@settings_options(*ASKING)
@click.pass_context
def audit_command(context: click.Context, as_json: bool, fast: bool, repairing: bool, settings: Settings) -> None:
    """Reconcile what was assigned, stored and announced; exit 1 when the difference is not zero."""
    masters = Masters(settings)
    leader = leader_of(masters.answering())
    with reading(settings) as opened:
        leader = leader or leader_of(masters.found(opened.ledger))
        if leader is not None or masters.unreached is not None:
            if repairing:
                words = masters.unreached_words or f"a master at {leader} leads this crawl"
                raise LedgerError(f"{words}; stop that one first, then repair")
            click.echo("the crawl is running: what moves while it is counted may show as a difference", err=True)
        result = audit(opened.ledger, opened.dataset, files=not fast, progress=_progress())
        repaired = repair(opened, result) if repairing else Repaired()
        reopened = reopen(opened) if repairing and result.stranded else 0
    if is_screen(sys.stderr):
        click.echo("\r\x1b[K", nl=False, err=True)
    told = {**result.document(), "repaired": repaired.jobs, "mended": asdict(repaired), "reopened": reopened}
    _print(told, as_json, lambda: _audit_text(result, repaired, reopened, repairing=repairing))
    context.exit(0 if result.clean else 1)


def _progress() -> Callable[[str, int], None] | None:
    if not is_screen(sys.stderr):
        return None
    return lambda what, count: click.echo(f"\r\x1b[K{count} {what}", nl=False, err=True)


def _audit_text(result: Audit, repaired: Repaired, reopened: int, *, repairing: bool) -> str:
    left = "; --repair leaves these alone" if repairing else ""
    rows = [
        f"{result.accounts} accounts, {result.receipts} receipts, {result.live} jobs open, {result.dead} dead letters, "
        f"{result.files} files with {result.records} records",
        f"lost: {result.lost_count}, doubled: {result.doubled_count}, differences: {len(result.differences)}",
        *result.lost,
        *result.doubled,
        *result.differences,
    ]
    if result.stores_nothing:
        rows.append(
            f"this crawl stores nothing: {result.unstored} jobs were ended by workers that keep no dataset{left}"
        )
    elif result.unstored:
        both = result.unstored + result.stored
        rows.append(f"{result.unstored} of {both} jobs were ended by workers that store nothing: no receipt{left}")
    if repaired.files:
        rows.append(f"{repaired.files} damaged files are kept in .tmatic/{SET_ASIDE} of the output, and are made anew")
    if repaired.jobs:
        rows.append(f"{repaired.jobs} jobs that were nowhere wait again: start the master to have them done")
    if repaired.twins:
        rows.append(f"{repaired.twins} jobs that were live twice are live once")
    if repaired.counts:
        rows.append(f"{repaired.counts} counts of the ledger are set right")
    if repaired.entries:
        rows.append(f"{repaired.entries} entries of the log are let go: who reads it takes the rest from the dataset")
    if reopened:
        rows.append(f"{reopened} jobs that were open wait where a master sees them: start it to have them done")
    return "\n".join(rows)


tmatic_master.add_command(keys)
for command in letters_commands():
    tmatic_master.add_command(command)


def main() -> None:
    """The entry point."""
    run(tmatic_master, "tmatic-master")


if __name__ == "__main__":
    main()
