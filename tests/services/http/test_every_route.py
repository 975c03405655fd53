"""Every route of every service, as real processes over a crawl that was, under requests that nobody should send.

None is answered by a failure of ours, none hangs, none leaves a thread or a connection behind, and what is said in a
request never comes back as part of a page.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from services.emulator.api.limits import ENDPOINTS
from services.lookup.routes import routes as lookup_routes
from services.lookup.store import Store
from services.stats.scrape import metrics_page
from tests.crawl.running import COVERED, crawl, emulator
from tests.ports import free_ports
from tests.services.http.attacks import MARK, Route, attack
from tests.services.http.serving import Answer, connected, request
from tests.services.monitor.running import running
from tests.services.subscriber.test_every_service import staying
from tests.waiting import until

WITHIN_S = 60.0
ANSWER_S = 15.0
"""The server's own longest patience with a body is 20 s; an attack here sends all of it at once."""
REQUESTS, REQUESTS_SOAK = 250, 2_500
"""To each of the four services."""
STREAMS, SLOW = 200, 60
OURS = {501, 503, 505}
"""Failures that are said in words: what is not possible here, a master or an index that is away, another HTTP."""


@dataclass
class Target:
    """A service under attack."""

    name: str
    url: str
    process: int
    routes: list[Route]
    known: dict[str, str] = field(default_factory=dict)
    """Headers that only a page of ours could send."""

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process}/task").iterdir()))

    def files(self) -> int:
        return len(list(Path(f"/proc/{self.process}/fd").iterdir()))


def of_app(app: object) -> list[Route]:
    return [Route(route.method, route.rule) for route in app.routes]  # type: ignore[attr-defined]


def lookups(tmp_path: Path) -> list[Route]:
    store = Store(tmp_path / "routes.db")
    try:
        return of_app(lookup_routes(store, lambda: None))
    finally:
        store.close()


def monitors(tmp_path: Path) -> list[Route]:
    with running(tmp_path) as served:
        return of_app(served.app)


def emulators() -> list[Route]:
    truth = ("", "world", "ids", "requests", "identities", "user/<id>", "reset", "withhold")
    paths = [Route("GET", f"/1.1/{endpoint}.json") for endpoint in ENDPOINTS]
    return [*paths, *(Route(m, f"/_truth/{name}") for name in truth for m in ("GET", "POST")), Route("GET", "/")]


@contextlib.contextmanager
def services(tmp_path: Path) -> Iterator[list[Target]]:
    """All services that answer HTTP, over a crawl that is done, with a master that stays and an index."""
    port, folder = free_ports(), tmp_path / "data"
    targets = tmp_path / "targets.txt"
    targets.write_text("12\n")
    common = ["--port", str(port), "--output", str(folder)]
    index = ["--index-directory", str(tmp_path / "index")]
    with emulator("--users", "40", "--seed", "7") as service, contextlib.ExitStack() as opened:
        flags = [str(targets), "-T", "-F", "-A", "--traversing", "BFS", "--workers", "1", "--base-url", service.url]
        crawl(folder, *flags, within_s=120)
        building = [sys.executable, "-m", "services.indexer.command", "rebuild", "--output", str(folder), *index]
        subprocess.run(building, env=COVERED, check=True, timeout=120, capture_output=True)
        opened.enter_context(staying(folder, port))

        def started(name: str, *words: str) -> tuple[str, int]:
            """Where a service answers, and its process."""
            log = tmp_path / f"{name}.log"
            with log.open("wb") as told:
                process = subprocess.Popen([sys.executable, "-m", *words, *common], env=COVERED, stderr=told)
            opened.callback(process.wait, 30)
            opened.callback(process.send_signal, signal.SIGTERM)
            found = until(lambda: re.search(rf"tmatic-{name} listens at (http://[^\s]+)", log.read_text()), WITHIN_S)
            assert found is not None
            return found[1], process.pid

        recording, database = str(tmp_path / "crawl.gz"), str(tmp_path / "lookup.db")
        monitor = ["services.monitor.command", "--monitor-port", "0", "--database", str(tmp_path / "m.db"), *index]
        stats = ["services.stats.command", "collect", "-f", recording, "--metrics-port", "0"]
        lookup = ["services.lookup.command", "--lookup-port", "0", "--lookup-database", database]
        made = [
            Target("lookup", *started("lookup", *lookup), lookups(tmp_path)),
            Target("stats", *started("stats", *stats), of_app(metrics_page(list))),
            Target("monitor", *started("monitor", *monitor), monitors(tmp_path)),
            Target("emulator", service.url, service.process.pid, emulators()),
        ]
        sign_in(made[2], tmp_path / "monitor.log")
        yield made


def sign_in(monitor: Target, log: Path) -> None:
    """As who may act: an attacker does not get so far, a hostile page in his browser might."""
    token = until(lambda: re.findall(r"#token=(\S+)", log.read_text(encoding="utf-8")), WITHIN_S)[0]
    session = requests.Session()
    answer = session.post(
        f"{monitor.url}/api/session", json={"token": token}, headers={"Origin": monitor.url}, timeout=9
    )
    cookies = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    monitor.known = {"Origin": monitor.url, "X-Tmatic-Csrf": answer.json()["csrf"], "Cookie": cookies}


def answered(target: Target, raw: bytes) -> Answer:
    """The answer; of an endless one its beginning. Raises TimeoutError when there is none in time."""
    with connected(*target.place) as connection:
        connection.settimeout(ANSWER_S)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be refused before all was sent
            connection.sendall(raw)
        came = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                came += piece
                if b"text/event-stream" in came and b"\r\n\r\n" in came:
                    break
    head, _, body = bytes(came).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    assert lines[0].startswith("HTTP/1.1 "), (raw[:300], came[:300])
    pairs = [line.partition(":") for line in lines[1:]]
    return Answer(int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body)


def assault(target: Target, number: int, seed: int) -> Counter[int]:
    """So many requests; how many answers of each status there were."""
    chance, statuses, met = random.Random(seed), Counter[int](), set[Route]()
    host = "{}:{}".format(*target.place)
    for _ in range(number):
        route, raw = attack(chance, target.routes, host, target.known)
        answer = answered(target, raw)
        met.add(route)
        statuses[answer.status] += 1
        assert answer.status < 500 or answer.status in OURS, (answer, raw[:1000])
        assert "x-injected" not in answer.headers, raw[:1000]
        if "text/html" in answer.headers.get("content-type", ""):
            assert MARK.encode() not in answer.body, raw[:1000]
    assert met == set(target.routes)
    return statuses


def check_alive(target: Target) -> None:
    for path in {"lookup": ("/", "/lookup/id/12"), "stats": ("/metrics",), "monitor": ("/", "/api/course")}.get(
        target.name, ("/", "/_truth/world")
    ):
        assert requests.get(target.url + path, timeout=ANSWER_S).status_code == 200


def attack_all(tmp_path: Path, number: int) -> None:
    with services(tmp_path) as made:
        for target in made:
            check_alive(target)
            began = time.monotonic()
            before = target.files()
            statuses = assault(target, number, seed=11)
            rate = number / (time.monotonic() - began)
            print(f"{target.name}: {len(target.routes)} routes, {dict(sorted(statuses.items()))}, {rate:.0f} a second")
            check_alive(target)
            until(lambda: target.files() <= before + 8, WITHIN_S)  # noqa: B023
            slow_clients(target)
        many_streams(made[2])
        assert "Traceback" not in "".join(log.read_text() for log in tmp_path.glob("*.log"))


def slow_clients(target: Target) -> None:
    """Some who send a head, or a body, byte by byte: others are answered meanwhile, and they are cut in the end."""
    threads, files = target.threads(), target.files()
    with contextlib.ExitStack() as opened:
        slow = [opened.enter_context(connected(*target.place)) for _ in range(SLOW)]
        head = request("POST", "/lookup/ids", None, Content_Length="1000", Content_Type="application/json")
        for number, one in enumerate(slow):
            one.sendall(b"GET / HTTP/1.1\r\nHo" if number % 2 else head + b"[")
        for _ in range(3):
            for one in slow:
                with contextlib.suppress(OSError):
                    one.sendall(b" ")
            began = time.monotonic()
            check_alive(target)
            assert time.monotonic() - began < 5.0
    until(lambda: target.threads() <= threads + 12 and target.files() <= files + 8, WITHIN_S)


def many_streams(monitor: Target) -> None:
    """Two hundred open pages: each is told, the rest answers, and all is given back."""
    threads, files = monitor.threads(), monitor.files()
    with contextlib.ExitStack() as opened:
        streams: list[socket.socket] = []
        for _ in range(STREAMS):
            one = opened.enter_context(connected(*monitor.place))
            one.sendall(request("GET", "/api/stream", host="{}:{}".format(*monitor.place)))
            streams.append(one)
        for one in streams:
            assert b"text/event-stream" in one.recv(4096)
        assert monitor.files() >= STREAMS
        began = time.monotonic()
        check_alive(monitor)
        answer = requests.get(f"{monitor.url}/api/dead", timeout=ANSWER_S)
        assert answer.status_code == 200 and json.loads(answer.text)["rows"] == []
        assert time.monotonic() - began < 5.0
        for one in streams:
            one.settimeout(ANSWER_S)
            assert one.recv(4096)
    until(lambda: monitor.threads() <= threads + 12 and monitor.files() <= files + 8, WITHIN_S)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_route_of_any_service_fails_under_a_thousand_hostile_requests(tmp_path: Path) -> None:
    attack_all(tmp_path, REQUESTS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_route_of_any_service_fails_under_ten_thousand_hostile_requests(tmp_path: Path) -> None:
    attack_all(tmp_path, REQUESTS_SOAK)
