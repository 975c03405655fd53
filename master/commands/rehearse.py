"""`tmatic-rehearse`: a fire drill on the user's own setup."""

from __future__ import annotations

import contextlib
import io
import json
import random
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from master.audit.audit import audit
from master.commands.crawl import OFFERED, for_emulator, split_options
from master.crawl.crawl import CrawlRequest
from master.frontier.seed_files import SeedLines
from master.rehearsal.chart import svg, text
from master.rehearsal.fault_plan import (
    FOR_S,
    MIN_RANDOM_S,
    SETTLE_S,
    Fault,
    FaultKind,
    SetUp,
    check,
    length_of,
    parse,
    random_plan,
    seconds,
)
from master.rehearsal.faults import InjectedFault
from master.rehearsal.rehearsal import Rehearsal, can_be_cut
from master.rehearsal.report import RehearsalReport, report_of, table
from master.startup.open_crawl import client_at, ledger_at, ledger_directory
from master.startup.preflight import check_rule
from protocol.cli import FAILED, INTERRUPTED, MISUSED, OVER, run
from protocol.errors import TmaticError, UsageError
from protocol.logs import set_up
from protocol.settings.completion import PATH
from protocol.settings.configuration import settings_options
from protocol.settings.settings import TABLE, Settings
from protocol.streams import is_screen
from storage.dataset.open import open_dataset, scheme_of, url_of
from storage.ledger.embedded import EmbeddedValkey

WORLD = "--users 100000"
TARGET = "12"
"""An account that every synthetic world has, with a name and many followers."""
SAID = "rehearsal.log"
PICTURE = "rehearsal.svg"
SHOWN_S = 0.2
MAX_SEED = 2**32

_PLACES = ("output_directory", "temporary_directory", "log_directory")
_OWN = ("crawl", *_PLACES, "port", "base_url", "bearer_token_file", "proxy", "ca_file")
_SETTINGS = tuple(name for name in OFFERED if name not in (*_OWN, "frontier_name", "contact", "log_format"))


def _faults(kind: FaultKind) -> Any:
    def read(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> list[Fault]:
        return [parse(kind, words) for words in texts]

    return read


def _time(_context: click.Context, option: click.Parameter, words: str | None) -> float | None:
    return None if words is None else seconds(words, option.opts[0])


@click.command()
@click.argument("targets", required=False, type=PATH)
@click.option(
    "--kill",
    "kills",
    multiple=True,
    metavar="WHAT@WHEN",
    callback=_faults(FaultKind.KILL),
    help="kill -9: master (who leads), master:N, worker:N, redis (the embedded server) or emulator, at that time.",
)
@click.option(
    "--stop",
    "stops",
    multiple=True,
    metavar="WHAT@WHEN[:FOR]",
    callback=_faults(FaultKind.STOP),
    help=f"Freeze it for so long (SIGSTOP, SIGCONT), of the same.  [in seconds; default: {FOR_S:g}s]",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="WHAT@WHEN[:FOR]",
    callback=_faults(FaultKind.CUT),
    help="Cut a link for so long: redis (masters and ledger), redis:N (one master), peer (the masters' own), worker:N "
    f"(it and the masters).  [in seconds; default: {FOR_S:g}s]",
)
@click.option(
    "--random",
    "random_s",
    metavar="TIME",
    callback=_time,
    help=f"Mishaps at random, for so long; at least {MIN_RANDOM_S:g}s.  [in seconds; default: the named ones]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    help="What --random is drawn from; the same seed, the same mishaps.  [default: another one each time]",
)
@click.option(
    "--length",
    "length_s",
    metavar="TIME",
    callback=_time,
    help=f"How long the drill lasts.  [in seconds; default: {SETTLE_S:g}s more than its last mishap]",
)
@click.option("--single", is_flag=True, help="Rehearse with one master.  [default: a pair]")
@click.option("--workers", type=click.IntRange(1, 1000), default=4, show_default=True, help="How many workers.")
@click.option(
    "--emulator-options",
    metavar="TEXT",
    default=WORLD,
    show_default=True,
    help="The world that is crawled: what tmatic-emulator is told, as one text.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where everything of the drill goes: a folder that is new, or empty.  [default: rehearsal-DATE-TIME]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
@settings_options(*_SETTINGS)
@click.pass_context
def tmatic_rehearse(
    context: click.Context,
    targets: str | None,
    kills: list[Fault],
    stops: list[Fault],
    cuts: list[Fault],
    random_s: float | None,
    seed: int | None,
    length_s: float | None,
    single: bool,
    workers: int,
    emulator_options: str,
    output: Path | None,
    as_json: bool,
    settings: Settings,
) -> None:
    """A fire drill: crawl an emulated world with your settings, let things go wrong, and audit what is left.

    Times are 10s, 1.5s, 500ms or 2m, and count from the first work that is done. TARGETS is a file of ids of the
    emulated world, one a line; without it, one account that it always has. All is real but the service: processes,
    signals, connections, ledger. Your dataset is not touched, and no token of yours is used. A traversing that only
    collects becomes BFS, so that there is something to do.

    \b
    tmatic-rehearse --kill master@10s --stop worker:3@20s --cut redis@30s:5s --cut peer@40s
    tmatic-rehearse --random 60s --seed 7
    tmatic-rehearse --redis redis://127.0.0.1:6379 --cut redis:0@10s    on your own server, in a crawl of its own

    It ends with what each mishap cost, the audit's verdict, and a picture, rehearsal.svg. The exit code is 1 when the
    audit finds something, or a mishap never came.
    """
    there = SetUp(
        workers, not single, embedded=not settings.redis, relayed=not settings.redis or can_be_cut(settings.redis)
    )
    plan = [*kills, *stops, *cuts]
    if random_s is not None:
        if plan or length_s is not None:
            raise UsageError(
                "--random chooses the mishaps and the length: leave out --kill, --stop, --cut and --length"
            )
        seed = random.SystemRandom().randrange(MAX_SEED) if seed is None else seed
        plan, length_s = list(random_plan(random_s, seed, there)), random_s
    elif seed is not None:
        raise UsageError("--seed is what --random is drawn from, and that was not said")
    if not plan:
        raise UsageError("nothing is to go wrong: name a --kill, --stop or --cut, or say --random 60s")
    for fault in plan:
        check(fault, there)
    length_s = length_of(plan, length_s)
    if workers > settings.max_clients:
        raise UsageError(f"--workers {workers} are more than --max-clients {settings.max_clients}: raise the latter")
    told = split_options(emulator_options)
    check_rule(settings)
    if targets is not None:
        _check_targets(SeedLines(Path(targets), quiet=True))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = output if output is not None else Path(f"rehearsal-{stamp}")
    if scheme_of(folder) is not None:
        raise UsageError(f"--output: a rehearsal is kept in a directory, and {url_of(folder)} is no form of one")
    TABLE["output_directory"].parse(str(folder), "--output")  # as the processes of the drill will get it
    _begin(folder, targets)
    settings = replace(
        for_emulator(settings),
        crawl=f"rehearsal-{stamp}-{secrets.token_hex(3)}",
        output_directory=folder,
        temporary_directory=None,
        log_directory=None,
        port=0,
        ha="",
        peer="",
        traversing="BFS" if settings.traversing == TABLE["traversing"].default else settings.traversing,
    )
    asked = CrawlRequest(str(folder / "targets.txt"), ("-T", "-F", "-A"), None, False, workers, told, not single)
    report: RehearsalReport | int = INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt):
        report = _drill(settings, asked, plan, length_s, there, seed)
    if isinstance(report, int):
        click.echo(f"tmatic-rehearse: cut short: nothing was audited, and {folder} stays as it is", err=True)
        context.exit(report)
    (folder / PICTURE).write_text(svg(report.picture), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(report.document(str(folder / PICTURE)), indent=1))
    else:
        click.echo(_told(report, folder))
    context.exit(0 if report.well else FAILED)


def _check_targets(file: SeedLines) -> None:
    """Raises UsageError for a file that a crawl would not accept as it is."""
    file.check()
    if why := file.none():
        raise UsageError(f"{file.path} names no account: {why}")
    for _ in file:
        pass
    if file.wrong:
        raise UsageError(
            file.damaged or f"{file.path} has {file.bad} lines that are no ids: a rehearsal needs all good"
        )


def _begin(folder: Path, targets: str | None) -> None:
    """Prepare the folder of a drill, which must be new or empty. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: a rehearsal needs a folder of its own, name another by --output")
        if targets is None:
            (folder / "targets.txt").write_text(TARGET + "\n", encoding="ascii")
        else:
            shutil.copyfile(targets, folder / "targets.txt")
    except OSError as error:
        raise UsageError(f"{folder} cannot be used: {error.strerror}") from error


def _drill(
    settings: Settings, asked: CrawlRequest, plan: list[Fault], length_s: float, there: SetUp, seed: int | None
) -> RehearsalReport | int:
    """The drill and its result; the exit code when a signal cut it short."""
    folder = settings.output_directory
    screen = _Screen(plan, length_s)
    with _server(settings) as (server, url), (folder / SAID).open("ab") as words:
        settings = replace(settings, redis=url)
        set_up(
            "tmatic-rehearse", settings, io.TextIOWrapper(words, encoding="utf-8", write_through=True, errors="replace")
        )
        drill = Rehearsal(
            settings,
            asked,
            plan,
            length_s,
            server=server,
            words=words,
            told=screen.told,
            shown=screen.show,
        )
        code = drill.run()
        screen.clear()
        if drill.signalled and not drill.over:
            return code
        if code not in OVER and not drill.over:
            raise _failed(code, folder / SAID)
        ledger = ledger_at(url, settings)
        result = audit(ledger, open_dataset(settings))
        if not there.embedded and result.clean:
            _forget(url, ledger.prefix)
    return report_of(drill, result, seed)


def _failed(code: int, said: Path) -> TmaticError:
    """The error of a crawl that gave up, with its last message. It is a usage error when a setting is the cause."""
    rows = said.read_text(encoding="utf-8", errors="replace").splitlines()
    words = f"the crawl gave up with exit code {code}; the end of {said}: {rows[-1] if rows else 'empty'}"
    return UsageError(words) if code == MISUSED else TmaticError(words)


@contextlib.contextmanager
def _server(settings: Settings) -> Iterator[tuple[EmbeddedValkey | None, str]]:
    """The ledger's server: the user's own, or one that the drill keeps alive, since it controls the links to it."""
    if settings.redis:
        yield None, settings.redis
        return
    with EmbeddedValkey(ledger_directory(settings), settings.durability) as server:
        yield server, server.url


def _forget(url: str, prefix: str) -> None:
    """Delete a drill's keys from the user's own server; no other crawl has their prefix."""
    pattern = prefix.replace("{", "\\{").replace("}", "\\}") + "*"
    with client_at(url) as client:
        for key in client.scan_iter(match=pattern, count=1000):
            client.unlink(key)


def _told(report: RehearsalReport, folder: Path) -> str:
    columns = min(100, shutil.get_terminal_size().columns)
    parts = [table(report), text(report.picture, columns), "\n".join(report.words()), f"{folder / PICTURE}"]
    return "\n\n".join(parts)


class _Screen:
    """The progress of a drill, on standard error: one changing line on a terminal, and each fault as it is injected."""

    def __init__(self, plan: list[Fault], length_s: float) -> None:
        self._plan, self._length_s = plan, length_s
        self._live = is_screen(sys.stderr)
        self._shown_s = float("-inf")

    def told(self, injected: InjectedFault) -> None:
        """A fault was injected."""
        self.clear()
        lasts = f", for {injected.fault.lasts_s:g} s" if injected.fault.lasts_s else ""
        click.echo(f"{injected.at_s:6.1f} s  {injected.fault.name}: {injected.whom}{lasts}", err=True)

    def show(self, drill: Rehearsal, at_s: float) -> None:
        """Show the current state."""
        if not self._live or at_s - self._shown_s < SHOWN_S or drill.watch is None or drill.faults is None:
            return
        self._shown_s = at_s
        last, coming = drill.watch.last, drill.faults.next
        leads = f"master {last.leader} leads" if last is not None and last.leader is not None else "nobody leads"
        jobs = f"{last.jobs} jobs done" if last is not None else ""
        then = f"next: {coming.name} at {coming.at_s:g} s" if coming is not None else "no more mishaps"
        click.echo(f"\r\x1b[K{at_s:6.1f} s of {self._length_s:g}: {leads}, {jobs}; {then}", nl=False, err=True)

    def clear(self) -> None:
        """Clear the changing line for other output."""
        if self._live:
            click.echo("\r\x1b[K", nl=False, err=True)


def main() -> None:
    """The entry point."""
    run(tmatic_rehearse, "tmatic-rehearse")


if __name__ == "__main__":
    main()
