"""Every service, killed, stopped and late, over takeovers: each ends with exactly what the dataset says."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from protocol.admin_client import ask_masters
from protocol.errors import LedgerError
from protocol.jobs import OPERATIONS, Operation, Outcome
from services.indexer.engines.index_location import ElasticLocation, IndexLocation, LocalLocation
from services.indexer.posts import Document
from services.indexer.query import MAX_HITS, parse
from services.stats.recording.points import Oddities, points_of
from services.stats.recording.recording import Recording
from storage.dataset.files.dataset import FileDataset
from tests.crawl.running import COVERED, audit, crawling, emulator
from tests.ports import free_ports
from tests.services.indexer import opensearch
from tests.services.indexer.opensearch import OpenSearch
from tests.services.indexer.written import on_file
from tests.services.lookup.making import in_files, in_lookup
from tests.waiting import until

WITHIN_S = 180.0
CAUGHT_UP_S = 900.0
"""Whoosh stores some 1,500 posts a second."""
SPARED_S = (0.3, 4.0)
"""How long a service has to store something, before it is killed without."""
DATABASE, RECORDING, INDEX = "lookup.db", "crawl.gz", "index"


@dataclass
class Service:
    """A service in a process of its own, and what befell it."""

    reader: str
    command: list[str]
    words: IO[bytes]
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    began_at: int = 0
    """How far it was known to be when it was last started."""
    spared_until: float = 0.0
    """When it is killed, if it has stored nothing before."""
    befell: list[str] = field(default_factory=list)

    def start(self, spared_s: float) -> None:
        self.spared_until = time.monotonic() + spared_s
        self.process = subprocess.Popen(self.command, env=COVERED, stdout=self.words, stderr=self.words)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None and self.process.poll() is None, f"{self.reader} ended by itself"
        self.process.send_signal(number)
        self.befell.append(number.name)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
        self.kills += 1

    def end(self) -> None:
        """As an operator does it: SIGTERM, and it says that all is well."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            assert self.process.wait(60) == 0, self.reader


@contextlib.contextmanager
def services(tmp_path: Path, port: int, output: Path, elasticsearch: str) -> Iterator[list[Service]]:
    common = ["--port", str(port), "--output", str(output)]
    collect = ["services.stats.command", "collect", "-f", str(tmp_path / RECORDING)]
    lookup = ["services.lookup.command", "--lookup-port", "0", "--lookup-database", str(tmp_path / DATABASE)]
    index = ["services.indexer.command", "--index-directory", str(tmp_path / INDEX)]
    commands = {
        "stats": collect,
        "lookup": lookup,
        "indexer-whoosh": index,
        "indexer-tantivy": [*index, "--index-engine", "tantivy"],
    }
    commands["indexer-tantivy"][2] += "-tantivy"
    if elasticsearch:
        commands["indexer-elasticsearch"] = [*index, "--elasticsearch", elasticsearch]
    with contextlib.ExitStack() as opened:
        made = []
        for reader, command in commands.items():
            words = opened.enter_context((tmp_path / f"{reader}.log").open("ab"))
            made.append(Service(reader, [sys.executable, "-m", *command, *common], words))
            opened.callback(made[-1].end)
        yield made


def asked(places: list[str]) -> dict[str, dict[str, Any]]:
    """The documents of the masters that answer, by their places."""
    with contextlib.suppress(LedgerError):
        return ask_masters(places, "status")
    return {}


def leader_of(places: list[str]) -> int | None:
    """The process that leads: who has the port of the master which says that it does."""
    for place, said in asked(places).items():
        if said.get("role") == "leading":
            found = subprocess.run(
                ["ss", "-Hltnp", f"sport = :{place.rpartition(':')[2]}"], capture_output=True, text=True, check=True
            ).stdout
            return int(found.partition("pid=")[2].partition(",")[0])
    return None


def run(
    tmp_path: Path, users: int, kills: int, pause_s: float, slow_s: float, elasticsearch: str = ""
) -> tuple[list[Service], Path]:
    """A crawl by a pair with every service, each killed so often and stopped for so long, each but the first later than
    the one before, the last when the crawl is over; the leading master is killed twice."""
    port, folder = free_ports(), tmp_path / "data"
    places = [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]
    targets = tmp_path / "targets.txt"
    targets.write_text("12\n")
    flags = [str(targets), "-T", "-F", "-A", "--traversing", "BFS", "--ha", "--workers", "2", "--port", str(port)]
    # Each answer takes a moment, so that the crawl lasts as long as what befalls its services.
    with (
        emulator("--users", str(users), "--seed", "7", "--faults", f"slow=1,slow_s={slow_s}") as service,
        services(tmp_path, port, folder, elasticsearch) as made,
    ):
        fate = Fate(places, made, kills, pause_s, 3 * users)
        made[0].start(WITHIN_S)  # before there is a master
        with crawling(folder, *flags, "--base-url", service.url) as process:
            while process.poll() is None:
                fate.strike(masters=True)
            assert process.wait() == 0, folder.with_suffix(".log").read_text()[-3000:]
        print(f"when the crawl was over: {[(one.reader, one.kills) for one in made]}")
        assert fate.taken_over == 2 and len(fate.late) == 1, "the crawl was over before all was done to it"
        with staying(folder, port):
            fate.late.pop().start(WITHIN_S)
            until(lambda: fate.strike(masters=False), WITHIN_S + pause_s)
            until(lambda: all_came(places, made), CAUGHT_UP_S)
            for one in made:
                one.end()
        assert audit(folder)["clean"]
    return made, folder


@contextlib.contextmanager
def staying(folder: Path, port: int) -> Iterator[None]:
    """A master that serves whoever listens, of a crawl that is over."""
    command = [sys.executable, "-m", "master.commands.master", "--stay", "--output", str(folder), "--port", str(port)]
    with folder.with_suffix(".log").open("ab") as words:
        process = subprocess.Popen(command, env=COVERED, stdout=words, stderr=words)
        try:
            yield
            assert process.poll() is None, "it did not stay"
        finally:
            process.terminate()
            assert process.wait(60) == 0


def all_came(places: list[str], made: list[Service]) -> bool:
    """Whether every service is known to have the whole log behind it."""
    found = looked_at(places)
    return bool(found) and all(found.get(one.reader) == found[""] for one in made)


def looked_at(places: list[str]) -> dict[str, tuple[int, int]]:
    """Each reader's sequence, and the log's, by what the leading master says."""
    said: Any = next((one for one in asked(places).values() if one.get("role") == "leading"), None)
    if said is None:
        return {}
    head = int(said["log"]["head"])
    return {"": (head, head)} | {one["name"]: (one["sequence"], head) for one in said["consumers"]}


class Fate:
    """What befalls the services, and the masters. `strike` does what is due now and says whether all is done."""

    def __init__(self, places: list[str], made: list[Service], kills: int, pause_s: float, total: int) -> None:
        self._places, self._made, self._kills, self._pause_s, self._total = places, made, kills, pause_s, total
        self._chance = random.Random(5)
        self._stopped: dict[str, float] = {}
        self.late, self.taken_over = list(made[1:]), 0

    def strike(self, *, masters: bool) -> bool:
        found = looked_at(self._places)
        if not found:
            time.sleep(0.1)
            return False
        at, now = found[""][0], time.monotonic()
        if masters:
            self._strike_masters(at)
        for one in self._made:
            if one.process is not None:
                self._strike_service(one, now, found.get(one.reader, (0, at))[0])
        time.sleep(0.05)
        return all(one.befell.count("SIGCONT") == 1 and one.kills == self._kills for one in self._made)

    def _strike_masters(self, at: int) -> None:
        """And have the next service come, but for the last."""
        if len(self.late) > 1 and at >= self._total * 0.1 * (len(self._made) - len(self.late)):
            self.late.pop(0).start(self._chance.uniform(*SPARED_S))
        if self.taken_over < 2 and at >= self._total * (self.taken_over + 1) / 3:
            leader = leader_of(self._places)
            if leader:
                os.kill(leader, signal.SIGKILL)
                self.taken_over += 1

    def _strike_service(self, one: Service, now: float, came: int) -> None:
        if one.reader in self._stopped:
            if one.befell[-1] == "SIGSTOP":
                if now >= self._stopped[one.reader]:
                    one.send(signal.SIGCONT)
                return
        elif one.kills >= self._kills // 2:
            self._stopped[one.reader] = now + self._pause_s
            one.send(signal.SIGSTOP)
            return
        if one.kills < self._kills and (came > one.began_at or now >= one.spared_until):
            one.kill()
            one.start(self._chance.uniform(*SPARED_S))
            one.began_at = came


def check_all(made: list[Service], folder: Path, kills: int, elasticsearch: IndexLocation | None = None) -> None:
    tmp_path = folder.parent
    for one in made:
        print(one.reader, dict(Counter(one.befell)))
        assert one.befell.count("SIGKILL") == kills and one.befell.count("SIGSTOP") == 1
    stored = FileDataset(folder)
    check_stats(stored, tmp_path / RECORDING)
    assert in_lookup(tmp_path / DATABASE) == in_files(stored)
    posts = on_file(stored)
    homes: list[IndexLocation] = [
        LocalLocation(tmp_path / INDEX, "whoosh"),
        LocalLocation(tmp_path / f"{INDEX}-tantivy", "tantivy"),
    ]
    if elasticsearch is not None:
        homes.append(elasticsearch)
    for home in homes:
        check_index(home, posts)


def check_stats(stored: FileDataset, path: Path) -> None:
    """The sums of the recording, and those of its lines, which Graphite adds up."""
    results, records = Counter[Operation](), Counter[Operation]()
    for receipt in stored.receipts():
        results[receipt.operation] += receipt.outcome is not Outcome.NO_LIST
        records[receipt.operation] += receipt.received
    assert results
    with Recording(path) as recording:
        assert {operation: number for operation, number in recording.counts.results.items() if number} == results
        assert {operation: number for operation, number in recording.counts.records.items() if number} == records
        assert recording.counts.takeovers >= 2
    summed = Counter[str]()
    odd = Oddities()
    for point in points_of(path, odd):
        if point.name.startswith("stats.ops."):
            summed[point.name.split(".")[2]] += int(point.value)
    assert (odd.lines, odd.torn) == (0, False)
    assert summed == {OPERATIONS[operation].name: number for operation, number in records.items()}


def check_index(home: IndexLocation, posts: dict[str, Document]) -> None:
    """Every post of every account, whole, as a search finds it; and no other."""
    by_author = dict[str, dict[str, Document]]()
    for identifier, post in posts.items():
        by_author.setdefault(post.user_id, {})[identifier] = post
    reader = home.reader()
    assert reader.count() == len(posts) > 0
    for author, own in by_author.items():
        found = dict[str, Document]()
        while len(found) < len(own):
            hits = reader.search(parse(f"user:{author}", limit=MAX_HITS, offset=len(found))).hits
            assert hits, author
            found |= {post.id: post for post in hits}
        assert found == own
    reader.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_service_ends_with_what_the_dataset_says(tmp_path: Path) -> None:
    made, folder = run(tmp_path, 160, 4, 3.0, 0.25)
    check_all(made, folder, 4)


@pytest.mark.soak
@pytest.mark.serial
@pytest.mark.timeout(3600)
def test_every_service_ends_so_over_two_thousand_accounts_and_a_minute_away(tmp_path: Path) -> None:
    folder = tmp_path / "opensearch"
    folder.mkdir()
    server = OpenSearch(opensearch.java(), opensearch.files(), folder)
    server.lay_out()
    server.start()
    try:
        made, output = run(tmp_path, 2000, 10, 60.0, 0.15, server.url)
        check_all(made, output, 10, ElasticLocation(server.url, "main", tmp_path / INDEX))
    finally:
        server.kill()
