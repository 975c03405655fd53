"""A pair of masters with its ledger, its workers and a service, each on a host of its own; all real processes.

    with Hosts() as hosts, hosts.pair(folder) as pair:
        pair.start()                     # both masters at once, and two workers
        pair.until_pages(20)
        hosts.world.cut("m0", "ledger")
        ...
        pair.finish()                    # heals, and waits for the end

Until `finish` the service answers slowly, through a delay proxy, so that the crawl lasts as long as a test needs. What
the ledger says is read past every cut, over the Unix socket of its server.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from protocol.admin_client import ask_masters
from storage.ledger.ledger import Lead, Ledger
from tests.checkout import ROOT
from tests.crawl.running import COVERED, audit, dataset
from tests.partition.delay import DelayProxy
from tests.partition.world import World
from tests.programs import program
from tests.waiting import until

HOSTS = ("m0", "m1", "w0", "w1", "ledger", "service")
MASTERS, WORKERS = ("m0", "m1"), ("w0", "w1")
PORT, REDIS_PORT, SERVICE_PORT, SLOW_PORT = 8000, 6379, 8080, 8081
WITHIN_S = 60.0
SLOW_S = 0.35
"""The service's delay, each way, until a test lets the crawl finish."""
SERVICE = ("--users", "30", "--seed", "7")
TARGETS = "12\n"
AWAY = (redis.RedisError, OSError)


class Hosts:
    """The hosts, and the service on one of them, for one test after the other."""

    def __init__(self) -> None:
        self.world = World(*HOSTS)

    def __enter__(self) -> Self:
        self.world.__enter__()
        try:
            self._start_service()
        except BaseException:
            self.world.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.world.close()

    def _start_service(self) -> None:
        address = self.world.address("service")
        command = [sys.executable, "-m", "services.emulator.command", "--host", address, "--port", str(SERVICE_PORT)]
        process = self.world.run("service", [*command, *SERVICE], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        words = process.stdout.readline().decode()
        assert words.startswith("listening on "), words

    def truth(self, path: str, *, method: str = "GET") -> Any:
        """What the emulator knows of what it was asked."""
        url = f"http://{self.world.address('service')}:{SERVICE_PORT}/_truth/{path}"
        with (
            self.world.inside("service"),
            urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=WITHIN_S) as answer,
        ):
            return json.load(answer)

    def proxy_to_ledger(self, host: str) -> DelayProxy:
        """A way of its own from a host to the ledger, to be slowed or stalled."""
        return self.world.proxy(host, ("ledger", REDIS_PORT))

    @contextmanager
    def pair(self, folder: Path) -> Iterator[Pair]:
        # A proxy of its own, so that no request of an earlier test is still under way in it.
        delay = self.world.proxy("service", ("service", SERVICE_PORT), port=SLOW_PORT, delay_s=SLOW_S)
        self.truth("reset", method="POST")
        pair = Pair(self, folder, delay)
        try:
            pair.start_ledger()
            yield pair
        finally:
            pair.close()
            delay.close()
            self.world.heal()


@dataclass
class Pair:
    """Two masters, their workers and their ledger. `delay` is before the service; `ways` are the HOST:PORTs by which
    each master finds the ledger."""

    hosts: Hosts
    folder: Path
    delay: DelayProxy
    masters: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None
    ways: dict[int, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        """The ledger's, past every cut."""
        return f"unix://{self.folder / 'ledger' / 'redis.sock'}"

    # The processes.

    def start(self, *numbers: int) -> None:
        """The masters, both at once unless some are named, and the workers; until one leads."""
        for number in numbers or (0, 1):
            self.start_master(number)
        for name in WORKERS:
            self.start_worker(name)
        self.until_leads(*numbers)

    def start_ledger(self) -> None:
        """Debian's Redis, with what its folder holds. It does not wait for an answer of one that still loads."""
        home = self.folder / "ledger"
        home.mkdir(exist_ok=True)
        binary = program("redis-server", "redis-server")
        options = {"bind": self.hosts.world.address("ledger"), "port": str(REDIS_PORT), "protected-mode": "no"}
        options |= {"unixsocket": "redis.sock", "save": "", "appendonly": "yes", "appendfsync": "everysec"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        # A kill of the server loses nothing with everysec; these tests are not about disks.
        self.server = self._run("ledger", "ledger", [binary, *words], cwd=home)
        until(lambda: self.client().ping(), WITHIN_S, expecting=AWAY)

    def kill_ledger(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server.wait(WITHIN_S)

    def start_master(self, number: int) -> subprocess.Popen[bytes]:
        world, host = self.hosts.world, MASTERS[number]
        targets = self.folder / "targets"
        if not targets.exists():  # the other master may be reading it
            targets.write_text(TARGETS)
        way = self.ways.get(number, f"{world.address('ledger')}:{REDIS_PORT}")
        peer = f"{world.address(MASTERS[1 - number])}:{PORT + 1 - number}"
        words = ["-T", "-F", "-A", "--stream", str(targets), "--traversing", "BFS"]
        words += ["--output", str(self.data), "--redis", f"redis://{way}", "--host", world.address(host)]
        words += ["--port", str(PORT), "--ha", str(number), "--peer", peer]
        words += ["--durability", "everysec", "--heartbeat-s", "0.2"]
        self.masters[number] = self._run(host, host, [sys.executable, "-m", "master.commands.master", *words])
        return self.masters[number]

    def start_worker(self, name: str) -> None:
        world = self.hosts.world
        words = [name, "--output", str(self.data), "--concurrency", "2"]
        words += ["--base-url", f"http://{world.address('service')}:{SLOW_PORT}"]
        for number, host in enumerate(MASTERS):
            words += ["--master", f"{world.address(host)}:{PORT + number}"]
        self.workers[name] = self._run(name, name, [sys.executable, "-m", "worker.command", *words])

    def _run(self, host: str, log: str, command: Sequence[str], cwd: Path = ROOT) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as words:
            return self.hosts.world.run(host, command, cwd=cwd, stdout=words, stderr=words, env=COVERED)

    def kill(self, number: int) -> None:
        """kill -9 of a master."""
        self.masters[number].kill()
        self.masters[number].wait(WITHIN_S)

    def pause(self, number: int) -> None:
        """SIGSTOP of a master: its connections stay, and it does nothing."""
        self.masters[number].send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        self.masters[number].send_signal(signal.SIGCONT)

    def close(self) -> None:
        for process in (*self.masters.values(), *self.workers.values(), self.server):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(WITHIN_S)

    # What is seen of them.

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=WITHIN_S, retry=Retry(NoBackoff(), 0))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.client(), "main")

    def lead(self) -> Lead:
        return self.ledger.observe()

    def leader(self) -> int | None:
        """The number of the one whose name is on the lead, None when nobody's is."""
        lead = self.lead()
        return int(lead.name.rpartition(":")[2]) - PORT if lead.incarnation else None

    def until_leads(self, *numbers: int, within_s: float = WITHIN_S) -> int:
        """Until one of these, or anybody, leads; who that is."""
        wanted = numbers or (0, 1)
        until(lambda: self.leader() in wanted, within_s)
        leader = self.leader()
        assert leader is not None
        return leader

    def pages(self) -> int:
        """How many pages are committed."""
        totals = self.ledger.totals()
        return sum(totals.get(f"{letter}.steps", 0) for letter in "TFA")

    def until_pages(self, more: int) -> None:
        """Until so many more pages are committed than now."""
        goal = self.pages() + more
        until(lambda: self.pages() >= goal, WITHIN_S)

    def until_beats(self, more: int) -> None:
        """Until who leads now has written so many beats more. Fails when the lead changes hands."""
        first = self.lead()

        def beaten() -> bool:
            lead = self.lead()
            assert lead.incarnation == first.incarnation, f"{lead.name} took the lead: {self.leads()}"
            return lead.beat >= first.beat + more

        until(beaten, WITHIN_S)

    def leads(self) -> list[tuple[str, int, str]]:
        """Every taking of the lead: who, in which epoch, and why."""
        bodies = [body for _, _, topic, body in self.ledger.log() if topic == "master.leads"]
        return [tuple(msgpack.unpackb(body)) for body in bodies]

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def tool(self, number: int, *words: str) -> subprocess.CompletedProcess[str]:
        """`tmatic-master` with a command, on the host of a master."""
        host = MASTERS[number]
        way = f"redis://{self.hosts.world.address('ledger')}:{REDIS_PORT}"
        told = ["--host", self.hosts.world.address(host), "--port", str(PORT), "--output", str(self.data)]
        command = [sys.executable, "-m", "master.commands.master", *words, *told, "--redis", way]
        process = self.hosts.world.run(
            host, command, cwd=ROOT, env=COVERED, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = process.communicate(timeout=WITHIN_S)
        return subprocess.CompletedProcess(command, process.returncode, out.decode(), err.decode())

    def status(self, number: int) -> dict[str, Any]:
        """`tmatic-master status --json` where that master is."""
        done = self.tool(number, "status", "--json")
        assert done.returncode == 0, done.stderr
        state: dict[str, Any] = json.loads(done.stdout)
        return state

    def state(self, number: int) -> dict[str, Any]:
        """The same, asked without a process; empty when that master does not answer."""
        host = MASTERS[number]
        place = f"{self.hosts.world.address(host)}:{PORT + number}"
        assert self.masters[number].poll() is None, f"{host} ended: {self.said(host)[-3000:]}"
        with self.hosts.world.inside(host):
            return ask_masters([place], "status").get(place, {})

    def until_role(self, number: int, role: str) -> None:
        until(lambda: self.state(number).get("role") == role, WITHIN_S)

    def until_known(self, number: int) -> None:
        """Until that master knows every worker."""
        until(lambda: self.state(number).get("pair", {}).get("workers_known") == len(WORKERS), WITHIN_S)

    # The end.

    def finish(self) -> None:
        """Everything is whole again and quick; all processes end by themselves, and well."""
        self.hosts.world.heal()
        self.delay.delay(0)
        for number, process in self.masters.items():
            self._ends_well(MASTERS[number], process)
        for name, process in self.workers.items():
            self._ends_well(name, process)

    def _ends_well(self, name: str, process: subprocess.Popen[bytes]) -> None:
        try:
            code = process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} is still running, led by {self.lead()}: {self.said(name)[-3000:]}") from None
        assert code == 0, f"{name} ended with {code}: {self.said(name)[-3000:]}"
        assert "Traceback" not in self.said(name), self.said(name)[-3000:]

    def refetched(self) -> int:
        """Pages that the service gave in full more than once."""
        return int(self.hosts.truth("requests")["answered_again"])

    def check(self, calm: dict[str, bytes]) -> None:
        """Nothing is lost, nothing doubled, and the dataset is that of the undisturbed crawl."""
        result = audit(self.data, "--redis", self.url)
        assert (result["lost_count"], result["doubled_count"], result["differences"]) == (0, 0, []), result
        found = dataset(self.data)
        assert found.keys() == calm.keys()
        assert [name for name in calm if found[name] != calm[name]] == []
