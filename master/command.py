"""`tmatic-master`: leads a crawl, and answers for it."""

from __future__ import annotations

import json
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import zmq

from master.asking import ask_master
from master.audit import Audit, audit
from master.frontier import write_frontier
from master.intake import Lines
from master.leading import Leading, Wish
from master.loop import Ending, Loop
from master.opening import Opened, open_crawl, resting
from master.plan import recall
from master.summary import NAMES, line
from master.terms import Terms
from master.traversal import COLLECTED, Traversing
from protocol.command import run
from protocol.configuration import settings_options
from protocol.errors import DatasetError, LedgerError
from protocol.jobs import Operation
from protocol.logs import fields, set_up
from protocol.settings import TABLE, Settings, names_for
from protocol.sockets import router
from storage.files import FileDataset
from storage.ledger import Ledger
from storage.manifest import write_manifest
from storage.records import unpack_job

log = logging.getLogger(__name__)

LEADING = names_for("master")
ASKING = ("crawl", "output_directory", "redis", "durability", "host", "port")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")


@click.group(invoke_without_command=True)
@click.option("-T", "timeline", is_flag=True, help="Download timelines.")
@click.option("-F", "follower", is_flag=True, help="Download follower lists.")
@click.option("-A", "analyse", is_flag=True, help="Look the followers up, and find the next accounts among them.")
@click.option("-U", "update", is_flag=True, help="Download what is newer than what is there. Stands alone.")
@click.option("--stream", metavar="FILE", help="The targets: one id a line, # for comments, plain or gzip.")
@click.option("--seeds", metavar="FILE", help="Accounts that are known already, and never to be discovered.")
@click.option("--adopt", is_flag=True, help="Go on with a ledger that this dataset does not know.")
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
    settings: Settings,
) -> None:
    """Lead a crawl: hand out jobs to workers, and keep in a ledger what became of each.

    \b
    tmatic-master -T -F -A --stream targets.txt --output data    a new crawl, or the same one again
    tmatic-master --output data                                  go on where it stopped
    tmatic-master -U --output data                               fetch what is newer, for every account
    tmatic-master status --output data                           how it stands

    Without --redis the ledger is an embedded Valkey in the output directory: nothing to install.
    Ctrl-C stops cleanly; a second one stops now; neither loses anything.
    """
    if context.invoked_subcommand is not None:
        return
    set_up("tmatic-master", settings)
    given = {Operation.TIMELINE: timeline, Operation.FOLLOWER: follower, Operation.ANALYSE: analyse}
    asked = frozenset(operation for operation, said in {**given, Operation.UPDATE: update}.items() if said)
    files = [Lines(Path(name)) if name else None for name in (stream, seeds)]
    for file in files:
        if file is not None:
            file.check()
    wish = Wish(asked, Traversing(settings.traversing), settings.depth, files[0], files[1], adopt)
    context.exit(lead(settings, wish))


def lead(settings: Settings, wish: Wish) -> int:
    """Lead a crawl to its end, or until told to stop. Returns the exit code."""
    with zmq.Context() as sockets:
        socket, port = router(sockets, settings.host, settings.port)
        # Until the loop listens to signals, one must not leave a server behind that nobody watches.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            opened = open_crawl(settings)
        except BaseException:
            socket.close(0)
            raise
        loop = None
        try:
            name = f"{platform.node() or 'master'}:{port}"
            leading = Leading(opened, wish, name, settings.max_users)
            loop = Loop(socket, leading, terms_of(settings))
            log.info("listening", extra=fields(address=f"{settings.host}:{port}", crawl=settings.crawl))
            ending = loop.run()
            if ending is Ending.DONE:
                _finish(opened, loop, wish)
                loop.farewell("the crawl is over")
            elif ending is Ending.DRAINED:
                log.info("drained: start again to go on")
                loop.farewell("drained")
        finally:
            # From here a signal must not cut short what keeps the ledger whole.
            signal.signal(signal.SIGTERM, _leave_now)
            signal.signal(signal.SIGINT, _leave_now)
            if loop is not None:
                loop.close()
            socket.close()
            opened.close()
    # What could be read is in. The file is for the user to mend, so this is the code of a wrong input.
    return 2 if any(file is not None and file.damaged for file in (wish.stream, wish.seeds)) else 0


def terms_of(settings: Settings) -> Terms:
    """What the settings ask of workers."""
    return Terms(
        crawl=settings.crawl,
        max_clients=settings.max_clients,
        heartbeat=settings.heartbeat_s,
        worker_timeout=settings.worker_timeout_s,
        progress_timeout=settings.progress_timeout_s,
        grace=settings.grace_s,
        job_tries=settings.job_tries,
        retry_base=settings.retry_base_s,
    )


def _leave_now(_number: int, _frame: object) -> None:
    os._exit(130)


def _finish(opened: Opened, loop: Loop, wish: Wish) -> None:
    """Everything is done: close what was open in the plan, write the frontier and the manifest, say the sums."""
    leadership = loop.leadership
    assert leadership is not None
    ledger, plan, settings = opened.ledger, leadership.plan, opened.settings
    over = plan.widened().updated()
    if over != plan:
        words = [["C", name, value] for name, value in over.remembered().items()]
        ledger.commit(leadership.lead.incarnation, leadership.beat, words, [])
        leadership.beat += 1
    if plan.widening:
        _empty(ledger, loop, plan.widening_family)
    if plan.updating and plan.round > 1:
        _empty(ledger, loop, replace(plan, round=plan.round - 1).round_family)
    _sweep(opened)
    frontier = write_frontier(ledger, settings.output_directory, settings.frontier_name)
    loop.totals = ledger.totals()
    loop.rates.look(loop.totals)
    log.info(line(loop.state()))
    stream = wish.stream
    counts = {name: value for name, value in loop.totals.items() if name != "tokens"}
    # Only what a master reads: what its workers were told is not known here.
    shown = {name: TABLE[name].shown(getattr(settings, name)) for name in LEADING}
    path = write_manifest(
        opened.dataset,
        settings={name: value for name, value in shown.items() if name != "redis"},
        seeds=[str(stream.path)] if stream is not None else [],
        versions={name: version(name) for name in ("twittomatic", "pyzmq", "msgpack", "redis")},
        counts=counts,
    )
    if frontier is not None:
        log.info("the accounts that were found, for a next crawl's --stream", extra=fields(frontier=frontier))
    log.info("all is done", extra=fields(manifest=path))


def _sweep(opened: Opened) -> None:
    """Segments that no ledger ever accepted, of workers that were killed, go; those of dead letters stay."""
    if len(list(opened.dataset.output.glob(".tmatic/ledger.*"))) > 1:
        return  # another crawl shares the directory, and may be using them
    kept = {segment.token for job, _ in opened.ledger.dead() for segment in job.progress.segments}
    try:
        opened.dataset.discard([segment for segment in opened.dataset.segments() if segment.token not in kept])
    except DatasetError as error:
        log.warning(f"{error}; nothing needs it any more")


def _empty(ledger: Ledger, loop: Loop, family: str) -> None:
    """A set of accounts that has served its purpose goes, a thousand buckets a commit."""
    leadership = loop.leadership
    assert leadership is not None
    for bucket in range(0, ledger.sizes().get(family, (0, 0))[1], 1000):
        ledger.commit(leadership.lead.incarnation, leadership.beat, [["E", family, bucket, 1000]], [])
        leadership.beat += 1


def _running(settings: Settings, question: str) -> dict[str, Any] | None:
    """What the master of this crawl answers, if one runs where the settings say. Another crawl's is left alone."""
    address = f"{settings.host}:{settings.port}"
    state = ask_master(address, "status")
    if state is None:
        return None
    ours = FileDataset(settings.output_directory).ledger_id(settings.crawl)
    if state.get("crawl") != settings.crawl or state.get("ledger", ours) != ours:
        click.echo(f"the master at {address} leads another crawl, {state.get('crawl')!r}, and is not asked", err=True)
        return None
    return state if question == "status" else ask_master(address, question)


def _print(document: Any, as_json: bool, text: Callable[[], str]) -> None:
    click.echo(json.dumps(document, indent=1) if as_json else text())


@tmatic_master.command()
@AS_JSON
@settings_options(*ASKING)
def status(as_json: bool, settings: Settings) -> None:
    """How a crawl stands: one that runs is asked, one that rests is read."""
    state = _running(settings, "status")
    if state is None:
        with resting(settings) as opened:
            state = _at_rest(opened)
    _print(state, as_json, lambda: _status_text(state))


def _at_rest(opened: Opened) -> dict[str, Any]:
    ledger = opened.ledger
    totals, plan = ledger.totals(), recall(ledger.remembered())
    lengths = {name: ledger.length(name) for name in ledger.queue_names()}
    held = list(ledger.held().values())
    operations = {}
    for operation, name in NAMES.items():
        letter = operation.value
        operations[name] = {
            "waiting": sum(length for queue, length in lengths.items() if queue.startswith(letter)),
            "parked": lengths.get(f"front:{letter}", 0),
            "ongoing": sum(lease.job.operation is operation for lease in held),
            "completed": totals.get(f"{letter}.done", 0),
            "dead": totals.get(f"{letter}.dead", 0),
            "pages": totals.get(f"{letter}.steps", 0),
            "records": totals.get(f"{letter}.records", 0),
        }
    seen = ledger.observe()
    return {
        "crawl": opened.settings.crawl,
        "state": "resting" if plan else "empty",
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
        "totals": dict(sorted(totals.items())),
        "workers": [],
    }


def _status_text(state: dict[str, Any]) -> str:
    if "operations" not in state:
        return f"crawl {state['crawl']}: {state['state']}: {state.get('trouble', '')}"
    plan = state["plan"]
    dead = state["dead"]
    shown = {**state, "dead": len(dead) if isinstance(dead, list) else dead}
    rows = [f"crawl {state['crawl']}: {state['state']}, {state['accounts']} accounts, {plan.get('traversing', '')}"]
    rows.append(line(shown))
    rows.append(f"{'':10}{'waiting':>9}{'parked':>9}{'ongoing':>9}{'done':>9}{'dead':>9}{'pages':>10}{'records':>12}")
    for name, o in state["operations"].items():
        numbers = f"{o['waiting']:9}{o['parked']:9}{o['ongoing']:9}{o['completed']:9}{o['dead']:9}"
        rows.append(f"{name:10}{numbers}{o['pages']:10}{o['records']:12}")
    rows += [
        f"worker {w['name']}: {len(w['jobs'])} of {w['room']} jobs, {w['completed']} done" for w in state["workers"]
    ]
    if isinstance(dead, list):
        rows += [f"dead: {d['operation']} {d['user']} after {d['tries']} tries: {d['why']}" for d in dead[:20]]
    return "\n".join(rows)


@tmatic_master.command()
@AS_JSON
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many.")
@settings_options(*ASKING)
def frontier(as_json: bool, limit: int, settings: Settings) -> None:
    """What waits, the next first: operation, account, depth, parent; collected accounts follow, one id a line."""
    rows: list[dict[str, Any]] = []
    with resting(settings) as opened:
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
    state = _running(settings, "drain")
    if state is None:
        raise LedgerError(f"no master answers at {settings.host}:{settings.port}: there is nothing to drain")
    _print(state, as_json, lambda: "draining: " + _status_text(state))


@tmatic_master.command("audit")
@AS_JSON
@click.option("--fast", is_flag=True, help="Trust the receipts, and do not count the records of every file.")
@settings_options(*ASKING)
@click.pass_context
def audit_command(context: click.Context, as_json: bool, fast: bool, settings: Settings) -> None:
    """Reconcile what was assigned, stored and announced; exit 1 when the difference is not zero."""
    if _running(settings, "status") is not None:
        click.echo("the crawl is running: what moves while it is counted may show as a difference", err=True)
    with resting(settings) as opened:
        result = audit(opened.ledger, opened.dataset, files=not fast, progress=_progress())
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
    _print(result.document(), as_json, lambda: _audit_text(result))
    context.exit(0 if result.clean else 1)


def _progress() -> Callable[[str, int], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda what, count: click.echo(f"\r\x1b[K{count} {what}", nl=False, err=True)


def _audit_text(result: Audit) -> str:
    rows = [
        f"{result.accounts} accounts, {result.receipts} receipts, {result.live} jobs open, {result.dead} dead letters, "
        f"{result.files} files with {result.records} records",
        f"lost: {result.lost_count}, doubled: {result.doubled_count}, differences: {len(result.differences)}",
        *result.lost,
        *result.doubled,
        *result.differences,
    ]
    return "\n".join(rows)


def main() -> None:
    """The entry point."""
    run(tmatic_master, "tmatic-master")


if __name__ == "__main__":
    main()
