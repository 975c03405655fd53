"""A rehearsal: a crawl of an emulated world, with faults, and what they cost.

It is `tmatic-crawl` with four differences. The drill supervises the ledger's server itself, or has a crawl of its own
on the user's; links that the plan cuts go through relays; no credential for a real service is used; and the output of
the processes goes to a file.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from master.crawl.crawl import STOP_S, Crawl, CrawlRequest
from master.crawl.supervision import SupervisedProcess, stop_all
from master.rehearsal.fault_plan import Fault, FaultKind, FaultTarget, pages_allowed
from master.rehearsal.fault_proxy import FaultProxies, Place
from master.rehearsal.faults import FaultInjector, FaultReach, InjectedFault, links_of
from master.rehearsal.timeline import LedgerSampler
from master.startup.open_crawl import ledger_at
from protocol.errors import TmaticError, UsageError
from protocol.settings.configuration import as_environment
from protocol.settings.settings import Settings
from protocol.transport.endpoints import local_pair
from storage.ledger.embedded import EmbeddedValkey

BEGIN_S: Final = 120.0
"""How long the first completed work may take. The clock of the drill starts there."""
WATCH_TIMEOUT_S: Final = 0.5
TRUTH_TIMEOUT_S: Final = 60.0
REDIS_PORT: Final = 6379


@dataclass(slots=True)
class Fetched:
    """Requests to the emulator, over all its restarts. Lookups are not counted: two lists may name the same accounts,
    and repeated lookups are correct then."""

    answered: Counter[str] = field(default_factory=Counter)

    def add(self, url: str) -> None:
        """Add the counts of an emulator that is about to end. One that does not answer adds nothing."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{url}/_truth/identities?at_least=1", timeout=TRUTH_TIMEOUT_S) as answer:
                counts = json.load(answer)
        except (OSError, ValueError):
            return
        for identity, said in counts.items():
            if "/lookup" not in identity.partition("?")[0]:
                self.answered[identity] += said["answered"]

    @property
    def again(self) -> int:
        """Pages that were fetched again."""
        return sum(count - 1 for count in self.answered.values() if count > 1)


class Rehearsal(Crawl):
    """One drill. `told` is called with each fault as it occurs, `shown` with the progress, at every sample."""

    def __init__(
        self,
        settings: Settings,
        asked: CrawlRequest,
        plan: Sequence[Fault],
        length_s: float,
        *,
        server: EmbeddedValkey | None,
        words: BinaryIO,
        told: Callable[[InjectedFault], None],
        shown: Callable[[Rehearsal, float], None],
    ) -> None:
        """`settings.redis` is the ledger's server; `server` is set too when the drill supervises it. `words` takes the
        output of the processes."""
        super().__init__(settings, asked)
        self.plan, self.length_s, self.server, self.words = plan, length_s, server, words
        self.told, self.shown = told, shown
        self.links, self.fetched = FaultProxies(), Fetched()
        self.watch: LedgerSampler | None = None
        self.faults: FaultInjector | None = None
        self.began_s: float | None = None
        self.ended_s = 0.0
        self.over = False
        """The time of the drill is up."""
        self._called_s = time.monotonic()
        self._ways: dict[str, str] = {}
        self._lay_links()

    def kept(self, name: str, command: Callable[[], list[str]], settings: Callable[[], Settings]) -> SupervisedProcess:
        """As for a crawl; but its output goes to a file, and it gets no credential for a real service and no proxy to
        one."""

        def environment() -> dict[str, str]:
            told = replace(settings(), bearer_token="", bearer_token_file=None, proxy=(), ca_file=())
            return as_environment(told, os.environ)

        return SupervisedProcess(name, command, environment, self.words)

    def turn(self, now: float) -> None:
        """Supervise the server, inject the faults, end in time. Raises TmaticError for a crawl that never began."""
        if self.server is not None and not self.server.alive():
            self.server.start()
        if self.watch is None:
            self.watch = LedgerSampler(
                ledger_at(self.settings.redis, self.settings, timeout_s=WATCH_TIMEOUT_S), self.port
            )
            self.watch.start()
            leader = self.watch.leader
            reach = FaultReach(
                self.masters,
                self.workers,
                self.emulators,
                self.server,
                self.links,
                lambda: leader() or 0,
                self._before_kill,
            )
            self.faults = FaultInjector(self.plan, reach)
        self.watch.port = self.port
        last = self.watch.last
        if self.began_s is None:
            if last is not None and last.work:
                self.began_s = last.at_s
            elif now - self._called_s > BEGIN_S:
                raise TmaticError(f"no work was done within {BEGIN_S:g} s: read {self.words.name}")
            return
        at_s = now - self.began_s
        assert self.faults is not None
        for injected in self.faults.turn(at_s):
            self.told(injected)
        self.shown(self, at_s)
        if at_s >= self.length_s and not self.faults.busy:
            self.over = self.stopping = True

    def own(self) -> list[int]:
        """As for a crawl; and the ledger's server."""
        server = self.server.pid if self.server is not None else None
        return [*super().own(), *([server] if server is not None else [])]

    def _start_emulator(self, kept: SupervisedProcess) -> None:
        try:
            super()._start_emulator(kept)
        except UsageError as error:
            raise UsageError(f"--emulator-options: the emulator did not start; {self.words.name} says why") from error

    def stop(self) -> None:
        """As for a crawl; the emulator's request counts are read before it ends."""
        self.ended_s = time.monotonic()
        if self.faults is not None:
            self.faults.mend_all()
        for some in (self.workers, self.masters):
            stop_all(some, STOP_S)
        if self.watch is not None:
            self.watch.stop()
        self.fetched.add(self.base_url)
        stop_all(self.emulators, STOP_S)
        self.links.close()

    @property
    def allowed(self) -> int:
        """How many pages the faults may have cost."""
        workers, each = self.asked.workers, self.settings.concurrency
        injected = self.faults.injected if self.faults is not None else []
        return sum(pages_allowed(one.fault, workers, each) for one in injected)

    def _before_kill(self, target: FaultTarget) -> None:
        if target is FaultTarget.EMULATOR:
            self.fetched.add(self.base_url)

    # The command line of each process.

    def master_settings(self, number: int) -> Settings:
        """As for a crawl; through a relay where the plan cuts."""
        told = super().master_settings(number)
        redis, peer = (self._ways.get(f"{what}-{number}") for what in ("redis", "peer"))
        return replace(told, redis=redis or told.redis, peer=peer or told.peer)

    def worker_settings(self, number: int) -> Settings:
        """As for a crawl; through relays where the plan cuts."""
        told = super().worker_settings(number)
        ways = [self._ways.get(f"worker-{number}-{n}") or place for n, place in enumerate(told.master)]
        return replace(told, master=tuple(ways))

    # The links.

    def _lay_links(self) -> None:
        """A relay for each link that the plan cuts, and for no other."""
        cuts = [fault for fault in self.plan if fault.kind is FaultKind.CUT]
        masters = 2 if self.asked.pair else 1
        for name in sorted({name for fault in cuts for name in links_of(fault, masters)}):
            what, _, rest = name.partition("-")
            number = int(rest.rpartition("-")[2])
            if what == FaultTarget.REDIS.value:
                url = self.settings.redis
                self._ways[name] = by_way_of(url, self.links.path(name, lambda url=url: place_of_server(url)))  # type: ignore[misc]
            else:
                wanted = 1 - number if what == FaultTarget.PEER.value else number
                self._ways[name] = f"127.0.0.1:{self.links.port(name, lambda n=wanted: self._place_of_master(n))}"  # type: ignore[misc]

    def _place_of_master(self, number: int) -> Place:
        host, _, port = local_pair(self.settings.host, self.port)[number].rpartition(":")
        return host.strip("[]"), int(port)


def can_be_cut(url: str) -> bool:
    """Whether a server can be reached through a relay: not with TLS, which is for one name, nor with sentinels."""
    return urlsplit(url).scheme in ("redis", "unix")


def place_of_server(url: str) -> Place:
    """Where the server of a redis:// or unix:// URL listens."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    return parts.hostname or "127.0.0.1", parts.port or REDIS_PORT


def by_way_of(url: str, path: str) -> str:
    """The same server, user, password and database, reached through a Unix socket."""
    parts = urlsplit(url)
    said = dict(parse_qsl(parts.query))
    if parts.scheme == "redis" and parts.path.strip("/"):
        said.setdefault("db", parts.path.strip("/"))
    user = parts.netloc.rpartition("@")[0]
    return f"unix://{user + '@' if user else ''}{path}" + (f"?{urlencode(said)}" if said else "")
