"""A `tmatic-master` process from start to end: what it opens, runs and leaves behind."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import resource
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from types import FrameType

import zmq

from master.events.log_reader import LogReader
from master.events.publisher import LogTail, Publisher
from master.frontier.export import write_frontier
from master.leadership.known_workers import Pair
from master.leadership.ledger_calls import Ending
from master.leadership.takeover import Takeover, TakeoverRequest
from master.loop import MasterLoop
from master.member import Member
from master.policy import CrawlPolicy
from master.startup.open_crawl import OpenCrawl, open_crawl, server_for
from master.startup.preflight import check_beginning
from master.verdict import CrawlVerdict, verdict_of
from protocol.cli import MISUSED
from protocol.errors import DatasetError, UsageError
from protocol.logs import fields
from protocol.settings.settings import TABLE, Settings, names_for
from protocol.stopping import SIGNALLED, set_up
from protocol.transport.authentication import Authentication, Authorised
from protocol.transport.endpoints import reached
from protocol.transport.exposure import check_exposure, keys_for
from protocol.transport.gatekeeper import Gatekeeper
from protocol.transport.keys import Certificate
from protocol.transport.refusals import Refusals, watched_dealer
from protocol.transport.sockets import publisher, router, routing_id
from storage.dataset.manifest import write_manifest
from storage.ledger.embedded import EmbeddedValkey

log = logging.getLogger(__name__)

LEADING = names_for("master")
SPARE_DESCRIPTORS = 200
"""Descriptors other than the workers' connections: files, the ledger, threads, tools."""
EVENTS_ABOVE = 10
LAST_PORT = 65_535


@dataclass(slots=True)
class Sockets:
    """A master's sockets, their authentication, and its link to its peer."""

    router: zmq.Socket[bytes]
    port: int
    gatekeeper: Gatekeeper
    pair: Pair | None
    publisher: Publisher
    events_port: int
    peer: zmq.Socket[bytes] | None = None
    refusals: Refusals | None = None


def lead(settings: Settings, request: TakeoverRequest) -> int:
    """Lead a crawl to its end, or until a stop; or stand by while another master leads. Returns the exit code: that of
    the signal if one ended it before the crawl was over, else that of the verdict on the crawl."""
    check_beginning(
        settings, request.operations, request.stream, request.seeds, adopt=request.adopt, named_by="--stream"
    )
    verdict = None
    with _listening(settings) as sockets, _leaving(server_for(settings)) as (server, kept):
        opened = open_crawl(settings, server)
        policy, pair = terms_of(settings), sockets.pair
        leading = Takeover(opened, request, f"{platform.node() or 'master'}:{sockets.port}", policy)
        member = Member(policy, leading.dispatch, leading.close, lambda: secrets.token_hex(8), pair)
        loop = MasterLoop(
            sockets.router,
            member,
            leading,
            gatekeeper=sockets.gatekeeper,
            publisher=sockets.publisher,
            reader=LogReader(opened.reading),
            peer=sockets.peer,
            refusals=sockets.refusals,
            finish=lambda loop: _finish(opened, loop, request),
        )
        kept.callback(loop.close)
        about = {"ha": pair.number, "peer": pair.peer} if pair is not None else {}
        where = reached(settings.host, sockets.port)
        loop.events_at = reached(settings.host, sockets.events_port)
        log.info("listening", extra=fields(address=where, events=loop.events_at, crawl=settings.crawl, **about))
        ending = loop.run()
        cut = SIGNALLED + loop.cut_by if ending is Ending.STOPPED and loop.cut_by else 0
        _take_leave(loop, ending)
        if not cut and ending is not Ending.DRAINED:
            verdict = verdict_of(opened.ledger.totals(), opened.ledger.dead())
    if cut:
        return cut
    # The valid lines were taken. The user must correct the file, so this is the code of a wrong input.
    wrong = [file for file in (request.stream, request.seeds) if file is not None and file.wrong]
    for file in wrong:
        log.warning(file.damaged or f"{file.path} has lines that are no ids, named above; the rest is crawled")
    code = _pronounce(verdict, settings) if verdict is not None else 0
    return MISUSED if wrong else code


def _pronounce(verdict: CrawlVerdict, settings: Settings) -> int:
    """Log the verdict, as the last line, unless all went well. Returns the exit code."""
    if verdict.letters:
        log.log(logging.WARNING if verdict.got else logging.ERROR, verdict.words(settings))
    return verdict.code


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[Sockets]:
    """The sockets of a master. Raises UsageError when they cannot be bound, or keys are missing."""
    _allow_connections(settings.max_clients)
    keys = keys_for(settings)
    number = int(settings.ha) if settings.ha else 0
    with zmq.Context() as context, contextlib.ExitStack() as kept:
        authorised = Authorised(keys) if keys is not None else None
        if authorised is not None:
            kept.enter_context(Authentication(context, authorised))
        own = keys.master() if keys is not None else None
        port = settings.port + number if settings.port else 0
        socket, port = router(context, settings.host, port, certificate=own)
        kept.callback(socket.close)
        events, events_port = _publisher(context, settings, port, own)

        def remade(old: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
            return publisher(context, settings.host, events_port, certificate=own, instead_of=old)[0]

        tail = LogTail()
        logging.getLogger().addHandler(tail)
        kept.callback(logging.getLogger().removeHandler, tail)
        changes = (lambda: authorised.changes) if authorised is not None else (lambda: 0)
        publishing = Publisher(events, tail, changes=changes, remade=remade)
        kept.callback(publishing.close)
        sockets = Sockets(socket, port, Gatekeeper(authorised), pair_of(settings, port), publishing, events_port)
        if sockets.pair is not None:
            check_exposure(sockets.pair.peer.rpartition(":")[0], keys is not None, settings.insecure)
            sockets.peer, sockets.refusals = watched_dealer(context, sockets.pair.peer, routing_id(), certificate=own)
            kept.callback(sockets.peer.close)
            kept.callback(sockets.refusals.close)
        yield sockets


def _publisher(
    context: zmq.Context[zmq.Socket[bytes]], settings: Settings, port: int, own: Certificate | None
) -> tuple[zmq.Socket[bytes], int]:
    """The socket for events. If its port is not set and the default one is taken, any free one is used: subscribers ask
    a master for the address."""
    usual = events_port_of(settings, port)
    try:
        return publisher(context, settings.host, usual, certificate=own)
    except UsageError:
        if settings.events_port or not usual:
            raise
        return publisher(context, settings.host, 0, certificate=own)


def _allow_connections(workers: int) -> None:
    """Raise the limit of descriptors: the usual 1,024 are too few, and beyond them no worker can connect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = workers + SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            f"this system allows {hard} open files, too few for {workers} workers: raise it by `ulimit -Hn {wanted}`"
        )


def _take_leave(loop: MasterLoop, ending: Ending) -> None:
    if ending is Ending.DONE:
        log.info("all is done")
        loop.farewell("the crawl is over")
    elif ending is Ending.DRAINED:
        log.info("drained: start again to go on")
        loop.farewell("drained")
    else:
        log.info("told to stop: what is in the workers' hands stays there for the master that leads next")


def events_port_of(settings: Settings, port: int) -> int:
    """The port for events: from the settings, or the next one after `port`; 0 for any free one. Raises UsageError."""
    if settings.events_port:
        return settings.events_port + (int(settings.ha) if settings.ha else 0)
    if not settings.port:
        return 0
    if port + EVENTS_ABOVE > LAST_PORT:
        raise UsageError(f"there is no port {EVENTS_ABOVE} above {port} for events: name one by --events-port")
    return port + EVENTS_ABOVE


def pair_of(settings: Settings, port: int) -> Pair | None:
    """This master's place in its pair, None when it is alone. Raises UsageError for half of one."""
    if not settings.ha:
        if settings.peer:
            raise UsageError("--peer names the other master of a pair: say --ha 0 or --ha 1 too, which this one is")
        return None
    number = int(settings.ha)
    if not settings.peer and not settings.port:
        raise UsageError("a pair that takes any free port cannot find each other: name --port, or --peer HOST:PORT")
    peer = settings.peer or reached(settings.host, settings.port + 1 - number)
    return Pair(number, reached(settings.host, port), peer)


def terms_of(settings: Settings) -> CrawlPolicy:
    """The policy for workers, from the settings."""
    return CrawlPolicy(
        crawl=settings.crawl,
        max_clients=settings.max_clients,
        heartbeat=settings.heartbeat_s,
        worker_timeout=settings.worker_timeout_s,
        progress_timeout=settings.progress_timeout_s,
        grace=settings.grace_s,
        job_tries=settings.job_tries,
        retry_base=settings.retry_base_s,
    )


@contextlib.contextmanager
def _leaving(server: EmbeddedValkey | None) -> Iterator[tuple[EmbeddedValkey | None, contextlib.ExitStack]]:
    """However this master ends, its exit callbacks run, and then the embedded server is stopped."""

    def leave_now(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            if server is not None:
                server.dismiss()
            os._exit(SIGNALLED + number)

    def hurry() -> None:
        """A signal must not interrupt what keeps the ledger whole from here on. It may end this process at once."""
        set_up(signal.signal, leave_now)

    with contextlib.ExitStack() as kept:
        if server is not None:
            kept.callback(server.stop)
        try:
            yield server, kept
        finally:
            hurry()


def _finish(opened: OpenCrawl, loop: MasterLoop, request: TakeoverRequest) -> None:
    """Everything is done: write the frontier and the manifest. Runs in a thread of its own, since beats go on: of the
    loop it uses only the totals."""
    ledger, settings = opened.ledger, opened.settings
    _sweep(opened)
    frontier = write_frontier(ledger, opened.dataset, settings.frontier_name)
    loop.totals = ledger.totals()
    stream = request.stream
    counts = {name: value for name, value in loop.totals.items() if name != "tokens"}
    # Only what a master reads: the settings of its workers are unknown here.
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
    log.info("the manifest is written", extra=fields(manifest=path))


def _sweep(opened: OpenCrawl) -> None:
    """Remove segments of killed workers that no ledger accepted; those of dead letters stay."""
    if len(opened.dataset.crawls()) > 1:
        return  # another crawl shares the directory, and may be using them
    kept = {segment.token for job, _ in opened.ledger.dead() for segment in job.progress.segments}
    try:
        opened.dataset.discard([segment for segment in opened.dataset.segments() if segment.token not in kept])
    except DatasetError as error:
        log.warning(f"{error}; nothing needs it any more")
