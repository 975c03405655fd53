"""What the lookup costs: profiles applied a second, bytes a profile, and lookups a second over HTTP.

usage: python benchmarks/lookup.py [--quick]

Profiles are as the emulator writes them. Analyses come page by page, as the subscriber hands them over: 100 profiles a
page, ten pages an analysis, and every third account has been met before. Then everything is made anew from the files
of a dataset. Then clients, in a process of their own, ask by keep-alive connections, while nothing else goes on and
while profiles are applied: by id, by name, and for 100 ids at once. Clients and server share the machine.

The last line is one JSON object: applied_per_s, anew_per_s, bytes_per_profile, json_bytes_per_profile, by_id_per_s,
by_id_p99_ms, by_name_per_s, by_ids_profiles_per_s, while_applying_by_id_per_s, while_applying_by_id_p99_ms.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.needs import require
from protocol.jobs import Operation
from protocol.settings.settings import Settings
from services.emulator.worlds.authors import screen_name
from services.emulator.worlds.posts import Pen
from services.emulator.worlds.world import AccountState
from services.http import Server
from services.lookup.consumer import LookupConsumer
from services.lookup.routes import LIMITS, routes
from services.lookup.store import Store
from services.subscriber.consumer import Event, Position
from storage.dataset.interface import Dataset, Page, Record
from storage.dataset.open import open_dataset
from storage.dataset.receipts import ReceiptDraft

HERE = Path(__file__).resolve().parent
PER_PAGE = 100
PAGES = 10
FIRST_ID = 1_000_000_000
CLIENTS = 4
EVENTS_AT_ONCE = 30
"""What a subscriber hands over at once when it is busy: about three analyses, one commit."""


def bodies(pen: Pen, analysis: int) -> list[bytes]:
    """The profiles of one analysis; every third one is of an account that came before, with other counts by now."""
    numbers = range(analysis * PER_PAGE * PAGES, (analysis + 1) * PER_PAGE * PAGES)
    return [
        pen.profile(FIRST_ID + (number if number % 3 else number // 3), AccountState.PUBLIC, number % 5_000, 50)
        for number in numbers
    ]


def events(pen: Pen, first: int, analyses: int) -> Iterator[Event]:
    """Analyses of ten pages, each page a gzip member, as they ride along."""
    for analysis in range(first, first + analyses):
        found, user = bodies(pen, analysis), f"owner{analysis}"
        for page in range(PAGES):
            sequence, received = analysis * PAGES + page + 1, (page + 1) * PER_PAGE
            payload = gzip.compress(b"\n".join(found[received - PER_PAGE : received]) + b"\n", 6)
            if page < PAGES - 1:
                yield Event(sequence, "user.page", [user, received, "c", "t", 0, "A"], payload)
            else:
                yield Event(sequence, "job.done", ["A", user, "complete", received, 0, "", "w"], payload)


def apply(consumer: LookupConsumer, made: Sequence[Event], stopped: threading.Event | None = None) -> int:
    """Hand the events over, as many at once as a subscriber would; returns how many profiles that were."""
    for at in range(0, len(made), EVENTS_AT_ONCE):
        if stopped is not None and stopped.is_set():
            return at * PER_PAGE
        some = made[at : at + EVENTS_AT_ONCE]
        consumer.apply(some, Position("ledger", "incarnation", some[-1].sequence))
    return len(made) * PER_PAGE


def fill(dataset: Dataset, pen: Pen, analyses: int) -> None:
    for analysis in range(analyses):
        records = {orjson.loads(line)["id_str"]: line for line in bodies(pen, analysis)}
        page = Page(tuple(Record(identifier, line) for identifier, line in records.items()))
        dataset.merge(str(analysis), Operation.ANALYSE, [], page, ReceiptDraft("bench", tokens=(f"t{analysis}",)))


def ask(url: str, what: str, accounts: int, seconds: float) -> None:
    """One client: asks for as long as it was told, then prints how many profiles came and how long each call took."""
    place = url.removeprefix("http://")
    connection = http.client.HTTPConnection(place)
    took: list[float] = []
    profiles = number = 0
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        number = (number + 7_919) % accounts
        if what == "ids":
            asked = json.dumps([str(FIRST_ID + (number + n) % accounts) for n in range(100)])
            connection.request("POST", "/lookup/ids", asked, {"Content-Type": "application/json"})
            profiles += 100
        else:
            path = f"id/{FIRST_ID + number}" if what == "id" else f"name/{screen_name(FIRST_ID + number)}"
            connection.request("GET", f"/lookup/{path}")
            profiles += 1
        connection.getresponse().read()
        took.append(time.perf_counter() - began)
    took.sort()
    print(json.dumps([profiles / seconds, 1000 * took[int(len(took) * 0.99)]]))


def asked(url: str, what: str, accounts: int, seconds: float) -> tuple[float, float]:
    """Profiles a second to all clients together, and the slowest 99th percentile of their calls in milliseconds."""
    command = [sys.executable, __file__, "--client", url, what, str(accounts), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(CLIENTS)]
    said = [json.loads(client.communicate()[0]) for client in clients]
    return sum(rate for rate, _ in said), max(p99 for _, p99 in said)


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def served(store: Store, consumer: LookupConsumer) -> tuple[Server, threading.Thread]:
    opened: list[Server] = []
    ready = threading.Event()

    def run() -> None:
        server = Server(routes(store, consumer.gauges), limits=LIMITS)
        server.open()
        opened.append(server)
        ready.set()
        server.run()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    return opened[0], thread


def measure(folder: Path, analyses: int, seconds: float) -> dict[str, float]:
    pen = Pen(5, [FIRST_ID])
    dataset = open_dataset(Settings(output_directory=folder / "data"))
    (folder / "data").mkdir()
    figures: dict[str, float] = {}
    store = Store(folder / "lookup.db")
    consumer = LookupConsumer(store, dataset)
    made = list(events(pen, 0, analyses))
    began = time.perf_counter()
    count = apply(consumer, made)
    figures["applied_per_s"] = count / (time.perf_counter() - began)
    store.close()
    found = {orjson.loads(line)["id_str"]: line for n in range(analyses) for line in bodies(pen, n)}
    figures["bytes_per_profile"] = size(store.path) / len(found)
    figures["json_bytes_per_profile"] = sum(map(len, found.values())) / len(found)

    fill(dataset, pen, max(1, analyses // 4))
    other = Store(folder / "anew.db")
    began = time.perf_counter()
    LookupConsumer(other, dataset).resynchronise(Position("ledger", "incarnation", 1))
    figures["anew_per_s"] = max(1, analyses // 4) * PER_PAGE * PAGES / (time.perf_counter() - began)
    other.close()

    store = Store(folder / "lookup.db")
    consumer = LookupConsumer(store, dataset)
    server, thread = served(store, consumer)
    accounts = analyses * PER_PAGE * PAGES
    figures["by_id_per_s"], figures["by_id_p99_ms"] = asked(server.url, "id", accounts, seconds)
    figures["by_name_per_s"], _ = asked(server.url, "name", accounts, seconds)
    figures["by_ids_profiles_per_s"], _ = asked(server.url, "ids", accounts, seconds)
    stopped = threading.Event()
    more = list(events(pen, analyses, analyses))
    applying = threading.Thread(target=apply, args=(consumer, more, stopped))
    applying.start()
    rate, p99 = asked(server.url, "id", accounts, min(seconds, 2.0))
    figures["while_applying_by_id_per_s"], figures["while_applying_by_id_p99_ms"] = rate, p99
    stopped.set()
    applying.join()
    server.stop()
    thread.join()
    store.close()
    return figures


def main() -> None:
    if sys.argv[1:2] == ["--client"]:
        url, what, accounts, told = sys.argv[2:]
        ask(url, what, int(accounts), float(told))
        return
    quick = "--quick" in sys.argv[1:]
    require(disk_mib=100 if quick else 1_000)
    analyses, seconds = (20, 1.0) if quick else (200, 5.0)
    print(f"{os.cpu_count()} cores, {analyses * PER_PAGE * PAGES:,} profiles, {CLIENTS} clients for {seconds:g} s each")
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), analyses, seconds)
    for figure, value in figures.items():
        print(f"  {figure:32}{value:12,.1f}")
    print(json.dumps({figure: round(value, 1) for figure, value in figures.items()}))


if __name__ == "__main__":
    main()
