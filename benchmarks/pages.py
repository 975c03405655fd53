"""What a page costs: CPU seconds for 1,000 timeline pages, fetched and durably stored, beside tweepy.

usage: python benchmarks/pages.py [--quick]

The world: an emulated service in a process of its own, not counted; the same accounts for both. Ours is a whole
`tmatic-crawl -T` with everything that belongs to it (supervisor, master, ledger with durability always, two workers);
tweepy pages the same timelines with one process into `json.dump` lines in gzip. CPU is user and system time of all
processes on each side, their start included. The two take turns; the medians count. Two worlds: accounts as they come
(many short timelines, each ended by an empty page), and the longest timelines of the world (full pages).

Then an update: five new posts on a timeline of 3,200, beside rewriting that timeline: reading it, uniting it with
the new posts by their ids, and writing all of it; through the dataset alone.

The last line is one JSON object: cpu_s_per_1000_pages, tweepy_cpu_s_per_1000_pages (accounts as they come),
full_cpu_s_per_1000_pages, tweepy_full_cpu_s_per_1000_pages, update_share.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.needs import require
from protocol.jobs import Operation, Segment
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Page, Record, RecordKind, record_id
from storage.dataset.receipts import ReceiptDraft

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent)}
USERS = 20_000


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    command = [sys.executable, "-m", "services.emulator.command", "--port", "0", "--users", str(USERS), "--seed", "5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().split()[-1]
    finally:
        process.terminate()
        process.wait()


def truth(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}/_truth/{path}") as answer:
        return json.load(answer)


def choose(url: str, pages: int, full: bool) -> list[str]:
    """Public accounts whose timelines have about so many pages in all, the last, empty ones included."""
    chosen: list[str] = []
    count = 0
    for account in truth(url, f"ids?start=0&count={USERS}")["ids"]:
        about = truth(url, f"account/{account}?lists=0") if count < pages else None
        if about is None:
            break
        posts = about["posts"]
        if about["state"] == "public" and (not full or posts >= 2_000):
            chosen.append(str(account))
            count += -(-posts // 200) + 1
    return chosen


def cpu_of(command: list[str], **more: Any) -> float:
    """CPU seconds of a process and all that it waited for."""
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{command[:4]} ended with {status}"
    return usage.ru_utime + usage.ru_stime


def ours(url: str, targets: Path, folder: Path) -> float:
    command = [sys.executable, "-m", "master.commands.crawl", str(targets), "-T", "--output", str(folder)]
    return cpu_of([*command, "--port", "0", "--workers", "2", "--base-url", url])


def tweepys(url: str, targets: Path, folder: Path) -> float:
    folder.mkdir()
    return cpu_of([sys.executable, str(HERE / "tweepy_pages.py"), url, str(targets), str(folder)])


def asked(url: str) -> int:
    by_path: dict[str, Any] = truth(url, "requests")["by_path"]
    found = [counts for path, counts in by_path.items() if "user_timeline" in path]
    return sum(sum(counts.values()) if isinstance(counts, dict) else counts for counts in found)


def compare(url: str, pages: int, rounds: int, full: bool, folder: Path) -> tuple[list[float], list[float]]:
    """CPU seconds per 1,000 pages, of ours and of tweepy, in turns."""
    accounts = choose(url, pages, full)
    targets = folder / f"targets{full}.txt"
    targets.write_text("\n".join(accounts))
    figures: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side, run in enumerate((ours, tweepys)):
            before = asked(url)
            cost = run(url, targets, folder / f"{full}{number}{side}")
            fetched = asked(url) - before
            figures[side].append(cost / fetched * 1000)
            print(f"  {run.__name__}: {len(accounts)} accounts, {fetched} pages, {cost:.2f} CPU s")
    return figures


def update_share(url: str, folder: Path, rounds: int) -> float:
    """The CPU of adding five posts to 3,200, as a share of that of rewriting the file."""
    account = next(a for a in truth(url, f"ids?start=0&count={USERS}")["ids"] if _posts(url, a) >= 3_200)
    posts: list[Record] = []
    cursor = ""
    while len(posts) < 3_205:
        query = f"user_id={account}&count=200" + (f"&max_id={cursor}" if cursor else "")
        with urllib.request.urlopen(f"{url}/1.1/statuses/user_timeline.json?{query}") as answer:
            page = orjson.loads(answer.read())
        if not page:
            break
        posts += [Record(post["id_str"], orjson.dumps(post)) for post in page]
        cursor = str(int(page[-1]["id_str"]) - 1)
    new, old = posts[:5], posts[5:]
    user, shares = str(account), []
    for number in range(rounds):
        dataset = FileDataset(folder / f"update{number}")
        length = 0
        for first in range(0, len(old), 200):
            page = Page(tuple(old[first : first + 200]), "x")
            length = dataset.append(user, Operation.TIMELINE, "whole", length, page)
        draft = ReceiptDraft("bench", tokens=("whole",))
        dataset.merge(user, Operation.TIMELINE, [Segment("whole", length)], None, draft)
        began = time.process_time()
        kept = [Record(record_id(RecordKind.TIMELINE, one), one) for one in dataset.lines(user, RecordKind.TIMELINE)]
        other = FileDataset(folder / f"rewritten{number}")
        other.merge(user, Operation.TIMELINE, [], Page((*new, *kept)), ReceiptDraft("bench", tokens=("again",)))
        rewriting = time.process_time() - began
        began = time.process_time()
        dataset.merge(user, Operation.UPDATE, [], Page(tuple(new)), ReceiptDraft("bench", tokens=("update",)))
        shares.append((time.process_time() - began) / rewriting)
        assert list(dataset.lines(user, RecordKind.TIMELINE)) == list(other.lines(user, RecordKind.TIMELINE))
    return statistics.median(shares)


def _posts(url: str, account: object) -> int:
    return int(truth(url, f"account/{account}?lists=0")["posts"])


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    require(disk_mib=200 if quick else 2_000, modules=("tweepy",))
    pages, rounds = (400, 1) if quick else (2_500, 3)
    print(f"world: {os.cpu_count()} cores, {USERS:,} emulated accounts, about {pages} pages a run, {rounds} rounds")
    with tempfile.TemporaryDirectory() as name, emulator() as url:
        folder = Path(name)
        mixed = compare(url, pages, rounds, False, folder)
        full = compare(url, pages, rounds, True, folder)
        share = update_share(url, folder, 9)
    medians = [statistics.median(figures) for figures in (*mixed, *full)]
    print(f"\n{'CPU s per 1,000 pages':28}{'ours':>8}{'tweepy':>8}{'share':>8}")
    for words, one, other in (
        ("accounts as they come", medians[0], medians[1]),
        ("full pages", medians[2], medians[3]),
    ):
        print(f"{words:28}{one:8.2f}{other:8.2f}{one / other:8.2f}")
    print(f"an update of 3,200 by 5 costs {share:.3f} of rewriting it\n")
    names = ["cpu_s_per_1000_pages", "tweepy_cpu_s_per_1000_pages"]
    names += ["full_cpu_s_per_1000_pages", "tweepy_full_cpu_s_per_1000_pages"]
    print(
        json.dumps({**{n: round(m, 3) for n, m in zip(names, medians, strict=True)}, "update_share": round(share, 4)})
    )


if __name__ == "__main__":
    main()
