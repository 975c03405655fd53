"""How fast posts are indexed and found, and what an index weighs, for each engine.

    python benchmarks/search.py [--quick] [--posts N] [--engines whoosh,tantivy,opensearch] [--url URL]

Posts are the emulator's, of many accounts. For each engine:

    rate      posts a second into an empty index, from lines of the dataset to commits, until the last is committed;
              and the CPU that this takes of our process, not of a search server
    size      bytes on disk of that index, per post
    ask       milliseconds for one question: a word; two words and a language; a phrase; a page as the monitor's, with
              hits, counts by month, hashtags and places
    found     seconds from a page's arrival at the indexer to its being found by another process, at 200 posts/s into
              the index that holds all the posts before; the median over all pages

A search server is started from the tests' files unless a URL is given. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from isal import igzip

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.needs import require
from protocol.settings.settings import Settings
from services.emulator.worlds.synthetic import SyntheticWorld
from services.emulator.worlds.world import Style
from services.indexer.consumer import Indexer
from services.indexer.engines.elastic import ElasticWriter
from services.indexer.engines.index_location import home_of
from services.indexer.index import IndexWriter, bounded
from services.indexer.posts import document
from services.indexer.query import Unit
from services.indexer.rebuild import opened
from services.indexer.search import Search
from services.subscriber.consumer import Event, Position
from storage.dataset.interface import RecordKind, record_id
from storage.dataset.open import open_dataset
from tests.services.indexer import opensearch

ROOT = Path(__file__).resolve().parent.parent
REMOTE = ("opensearch", "elasticsearch")
RATE = 200
"""Posts a second that arrive while the time to be found is measured."""

PAGE = 20
BATCH_S = 0.25
"""How long the subscriber gathers events before it hands them over."""

QUESTIONS = {
    "word": {"text": "mare"},
    "words": {"text": "treno domani lang:it"},
    "phrase": {"text": '"al mare"'},
    "page": {"text": "caffè", "limit": 50, "unit": Unit.MONTH, "tags": 20, "located": 500},
}
ASKED = 25
"""Times that each question is asked."""


def posts(number: int) -> list[tuple[str, bytes]]:
    """Account and line of so many posts, by accounts."""
    world = SyntheticWorld(max(200, number // 20), 7)
    found: list[tuple[str, bytes]] = []
    for user in world.ids(0, 1 << 30):
        account = world.find(user)
        if account is not None:
            lines = world.posts(account, 0, min(200, account.posts), Style(trim_user=False, extended=False))
            found += [(str(user), line) for line in lines]
        if len(found) >= number:
            break
    return found[:number]


def fill(index: IndexWriter, lines: list[tuple[str, bytes]]) -> tuple[float, float]:
    """Posts a second, and microseconds of this process' own CPU a post, which a busy machine changes less."""
    began, used = time.perf_counter(), time.process_time()
    made = (document(line, account) for account, line in lines)
    for part in bounded((post.id, post) for post in made):
        index.commit(part, None)
    spent = (time.process_time() - used) / len(lines) * 1e6
    return len(lines) / (time.perf_counter() - began), spent


def latencies(search: Search) -> dict[str, float]:
    """Milliseconds for each question, the median."""
    figures = {}
    for name, question in QUESTIONS.items():
        times = []
        for _ in range(ASKED):
            began = time.perf_counter()
            search.search(**question)  # type: ignore[arg-type]
            times.append(time.perf_counter() - began)
        figures[name] = round(statistics.median(times) * 1000, 2)
    return figures


def found_after(settings: Settings, index: IndexWriter, lines: list[tuple[str, bytes]], folder: Path) -> float:
    """Seconds from arrival until another process finds a page's last post; the median."""
    pages = [lines[first : first + PAGE] for first in range(0, len(lines), PAGE)]
    ids = [record_id(RecordKind.TIMELINE, page[-1][1]) for page in pages]
    wanted = folder / "wanted.json"
    wanted.write_text(json.dumps({"ids": ids, "settings": said(settings)}))
    command = [sys.executable, __file__, "--look", str(wanted)]
    looking = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True)
    assert looking.stdout is not None
    assert looking.stdout.readline() == "looking\n"
    indexer = Indexer(index, open_dataset(settings))
    arrived: list[float] = []
    began, applied = time.monotonic(), 0
    while applied < len(pages):
        now = time.monotonic()
        due = min(len(pages), int((now - began) * RATE / PAGE))
        if due == applied:
            time.sleep(BATCH_S)
            continue
        events = []
        for number in range(applied, due):
            account = pages[number][0][0]
            payload = igzip.compress(b"".join(line + b"\n" for _, line in pages[number]))
            record = [account, PAGE * (number + 1), "c", "t", 0, "T"]
            events.append(Event(number, "timeline.page", record, payload))
            arrived.append(began + (number + 1) * PAGE / RATE)
        applied = due
        indexer.apply(events, Position("bench", "first", due))
        time.sleep(max(0.0, BATCH_S - (time.monotonic() - now)))
    out, _ = looking.communicate(timeout=120)
    found: list[float] = json.loads(out)
    return statistics.median(at - came for at, came in zip(found, arrived, strict=True))


def said(settings: Settings) -> dict[str, str]:
    return {
        name: str(getattr(settings, name))
        for name in ("crawl", "output_directory", "index_directory", "index_engine", "elasticsearch_url")
    }


def look(wanted: Path) -> None:
    """The other process: when each post was found, on the clock that all processes share."""
    value = json.loads(wanted.read_text(encoding="utf-8"))
    said = value["settings"]
    settings = replace(
        Settings(),
        crawl=said["crawl"],
        output_directory=Path(said["output_directory"]),
        index_directory=Path(said["index_directory"]),
        index_engine=said["index_engine"],
        elasticsearch_url=said["elasticsearch_url"],
    )
    search = Search(settings)
    search.count()
    print("looking", flush=True)
    found = []
    for identifier in value["ids"]:
        while search.post(identifier) is None:
            time.sleep(0.05)
        found.append(time.monotonic())
    print(json.dumps(found))


def size_of(settings: Settings, index: IndexWriter) -> int:
    if isinstance(index, ElasticWriter):
        index.refresh()
        stats: Any = index._server.ask("GET", f"/{index.name}/_stats/store").value
        return int(stats["_all"]["total"]["store"]["size_in_bytes"])
    return sum(path.stat().st_size for path in settings.index_directory.rglob("*") if path.is_file())


@contextmanager
def server(folder: Path) -> Iterator[str]:
    one = opensearch.OpenSearch(opensearch.java(), opensearch.files(), folder, options=())
    one.lay_out()
    one.start()
    try:
        yield one.url
    finally:
        one.kill()


def measure(engine: str, url: str, lines: list[tuple[str, bytes]], more: list[tuple[str, bytes]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(
            crawl=f"bench-{os.getpid()}",
            output_directory=folder / "data",
            index_directory=folder / "index",
            index_engine=engine if not url else "whoosh",
            elasticsearch_url=url,
        )
        settings.output_directory.mkdir()
        home = home_of(settings)
        with home.lock():
            index = opened(home, open_dataset(settings))
            rate, cpu = fill(index, lines)
            index.close()
            index = home.open()
            size = size_of(settings, index)
            search = Search(settings)
            asked = latencies(search)
            search.close()
            found = found_after(settings, index, more, folder)
            index.close()
    return {
        "rate_per_s": round(rate),
        "cpu_us_per_post": round(cpu),
        "bytes_per_post": round(size / len(lines)),
        "found_after_s": round(found, 2),
        **{f"{name}_ms": figure for name, figure in asked.items()},
    }


def ready(engine: str) -> bool:
    """Whether what the engine needs is here; says what is not."""
    try:
        if engine in REMOTE:
            opensearch.java()
            opensearch.files()
    except pytest.skip.Exception as skipped:
        print(f"{engine}: left out, {skipped}")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--posts", type=int, default=0)
    parser.add_argument("--engines", default="whoosh,tantivy,opensearch")
    parser.add_argument("--url", default="")
    parser.add_argument("--look", type=Path)
    arguments = parser.parse_args()
    if arguments.look:
        look(arguments.look)
        return
    require(disk_mib=200 if arguments.quick else 2_000)
    engines = [engine for engine in arguments.engines.split(",") if arguments.url or ready(engine)]
    number = arguments.posts or (3_000 if arguments.quick else 100_000)
    arriving = RATE * (5 if arguments.quick else 20)
    lines = posts(number + arriving)
    lines, more = lines[:-arriving], lines[-arriving:]
    print(f"world: {os.cpu_count()} cores, {len(lines):,} posts, then {RATE} posts/s for {arriving // RATE} s")
    figures: dict[str, Any] = {"posts": len(lines)}
    for engine in engines:
        with tempfile.TemporaryDirectory() as folder:
            remote = engine in REMOTE
            with server(Path(folder)) if remote and not arguments.url else nullcontext(arguments.url) as url:
                figures[engine] = measure(engine, url if remote else "", lines, more)
        print(f"{engine:12} " + "  ".join(f"{name} {figure:,}" for name, figure in figures[engine].items()), flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
