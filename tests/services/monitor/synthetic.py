"""Made-up crawls for the pages: documents as a master would send them, an index, a master, a small dataset."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from protocol.errors import LedgerError
from protocol.jobs import Operation, Outcome
from services.monitor.master import Job
from services.monitor.search import Findings, Question
from services.subscriber.consumer import Event, Position
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Page, Record
from storage.dataset.receipts import ReceiptDraft

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"&amp;</td>'
POSITION = Position("ledger", "incarnation", 7)
TARGET = "22013880"
USERS = [str(22013880 + 7919 * number) for number in range(4000)]
WORDS = (
    "granted",
    "took the lead",
    "a worker said hello",
    "a budget has reset",
    "page committed",
    "a job was handed out",
    "a lease lapsed",
    "the frontier was split",
)


def document(
    workers: int = 40, second: int = 0, pair: bool = True, seed: int = 7, hostile: bool = True
) -> dict[str, Any]:
    """The state of a crawl after so many seconds."""
    dice = random.Random(seed * 1_000_003 + second)
    done = {
        "timeline": 12_400 + 9 * second,
        "follower": 11_800 + 8 * second,
        "analyzer": 9_650 + 7 * second,
        "update": 0,
    }
    waiting = {
        "timeline": 2_310 - 3 * second,
        "follower": 2_905 - 4 * second,
        "analyzer": 5_020 - 6 * second,
        "update": 0,
    }
    swing = [second + 0.2 * period * math.sin(second / period) for period in (47.0, 29.0)]
    records = {
        "timeline": 2_120_400 + 21_450 * swing[1] + 7_000 * dice.random(),
        "follower": 10_643_600,
        "analyzer": 926_400,
        "update": 0,
    }
    parked = {"timeline": 12, "follower": 208, "analyzer": 31, "update": 0}
    dead = {"timeline": 9, "follower": 14, "analyzer": 2, "update": 0}
    names = [f"worker-{number:03d}" for number in range(1, workers + 1)]
    crew = [_worker(name, number, dice) for number, name in enumerate(names)]
    if crew and hostile:
        crew[-1]["name"] = f"zz {HOSTILE}"[:60]
    letters = {"T": "timeline", "F": "follower", "A": "analyzer", "U": "update"}
    ongoing = dict.fromkeys(letters.values(), 0)
    for worker in crew:
        for job in worker["jobs"]:
            ongoing[letters[job["operation"]]] += 1
    told = {
        "crawl": "autumn",
        "ledger": "ledger",
        "state": "running",
        "leader": {"name": "master-0", "epoch": 4, "incarnation": "incarnation"},
        "plan": {"operations": "TFA", "traversing": "BFS", "depth": "3", "updating": ""},
        "operations": {
            name: {
                "waiting": max(0, waiting[name]),
                "parked": parked[name],
                "ongoing": ongoing[name],
                "completed": done[name],
                "dead": dead[name],
                "pages": int(173_000 + 312 * swing[0] + 110 * dice.random()) if name == "timeline" else done[name],
                "records": int(records[name]),
            }
            for name in done
        },
        "next": {
            name: [[USERS[(second + 37 * place) % len(USERS)], 2 if place == 3 else 0, "-1"] for place in range(20)]
            for name in ("timeline", "follower", "analyzer")
        }
        | {"update": []},
        "accounts": 31_204 + 2 * second,
        "collected": 0,
        "resting": 17,
        "dead": 25,
        "rates": {"pages": 312.0, "records": 21_450.0, "jobs": 24.0},
        "totals": {},
        "counted": {"stale results": 3},
        "workers": crew,
        "budgets": {
            f"twitter app-{number:02d} {endpoint}": {
                "available": dice.randrange(0, 1 + limit) if number else 0,
                "limit": limit,
                "outstanding": dice.randrange(0, 12),
                "in_doubt": 0 if number % 3 else 2,
                "resets_in_s": round(dice.random() * 900, 1),
            }
            for number in range(min(12, 1 + workers // 4))
            for endpoint, limit in (("statuses/user_timeline", 900), ("followers/ids", 15), ("users/lookup", 900))
        },
        "consumers": [
            {"name": "indexer", "sequence": 190_402, "lag": 12},
            {"name": "lookup", "sequence": 190_414, "lag": 0},
            {"name": "stats", "sequence": 190_414, "lag": 0},
        ],
        "log": {"first": 1_201, "head": 190_414, "bytes": 41_250_816},
        "role": "leading",
        "epoch": 4,
        "beat": 81_224 + 10 * second,
        "takeovers": [
            {"ago_s": 86_400.0 + second, "epoch": 3, "why": "the first to lead this crawl"},
            {"ago_s": 1_840.0 + second, "epoch": 4, "why": "the beat stood still for 300 ms and the peer was silent"},
        ],
        "why": "",
    }
    if pair:
        told["pair"] = {
            "number": 0,
            "address": "10.0.0.11:8000",
            "peer": "10.0.0.12:8001",
            "peer_silent": False,
            "peer_leads": False,
            "peer_epoch": 4,
            "peer_workers": workers,
            "workers_known": workers,
        }
    return told


def _worker(name: str, number: int, dice: random.Random) -> dict[str, Any]:
    silent = dice.random() * (60 if number % 97 == 41 else 1.6)
    held = 0 if number % 11 == 5 else dice.randrange(1, 9)
    return {
        "name": name,
        "room": 8,
        "address": f"10.0.{number // 200}.{50 + number % 200}",
        "jobs": [
            {
                "operation": dice.choice("TTFFA"),
                "user": dice.choice(USERS),
                "page": dice.randrange(1, 40),
                "idle_s": round(dice.random() * 4, 1),
            }
            for _ in range(held)
        ],
        "completed": 300 + (number * 37) % 900,
        "rate": round(4 + dice.random() * 9, 1) if held else 0.0,
        "silent_s": round(silent, 3),
        "budgets": {
            "followers/ids": {"available": dice.randrange(0, 16), "limit": 15, "outstanding": 1, "resets_in_s": 212.0},
            "user_timeline": {"available": dice.randrange(90, 900), "limit": 900, "resets_in_s": 431.5},
        },
    }


def lines(count: int, hostile: bool = True) -> list[dict[str, Any]]:
    """Lines of a log, the last ones newest."""
    dice = random.Random(3)
    now = time.time()
    written = [
        {
            "at": now - (count - number) * 0.7,
            "level": dice.choices(("debug", "info", "warning", "error"), (10, 80, 8, 2))[0],
            "message": dice.choice(WORDS),
            "fields": {
                "worker": f"worker-{dice.randrange(1, 900):03d}",
                "user": dice.choice(USERS),
                "page": number % 40,
            },
        }
        for number in range(count)
    ]
    if hostile and written:
        written[-1] = {"at": now, "level": "error", "message": HOSTILE, "fields": {"user": HOSTILE}}
    return written


def events(words: str = HOSTILE) -> list[Event]:
    """Who led to whom, and some failures."""
    done = [
        Event(number, "job.done", ["A", user, "complete", 90, depth, parent, "worker-001"])
        for number, (user, depth, parent) in enumerate(
            [(TARGET, 0, ""), (USERS[1], 1, TARGET), (USERS[2], 2, USERS[1]), (USERS[3], 3, USERS[2])], 1
        )
    ]
    failed = [
        Event(10 + number, "job.failed", ["F", USERS[number], number % 4, "503 Service Unavailable", "worker-007"])
        for number in range(12)
    ]
    died = [Event(40, "job.dead", ["T", USERS[9], 5, words, "worker-003"])]
    return [*done, *failed, *died]


class ScriptedMaster:
    """A master with dead letters in memory."""

    def __init__(self, count: int = 25, hostile: bool = True) -> None:
        reasons = (
            "404 Not Found: the account is gone, and came back twice",
            "503 Service Unavailable after 4 attempts of a request",
            "the service repeated a cursor: it may be caught in a loop",
            HOSTILE if hostile else "the service answers 500, code 131: Internal error; asked 4 times",
        )
        self.letters = [
            {
                "operation": "TFA"[number % 3],
                "user": USERS[50 + number],
                "tries": 5,
                "words": reasons[number % len(reasons)],
                "cursor": str(1_300_000 + number),
            }
            for number in range(count)
        ]
        self.requeued: list[Job] = []
        self.dropped: list[Job] = []
        self.asked: list[int] = []
        self.trouble = ""

    def dead(self, first: int, count: int) -> list[dict[str, Any]]:
        if self.trouble:
            raise LedgerError(self.trouble)
        return self.letters[first : first + count]

    def requeue(self, jobs: Sequence[Job]) -> list[str]:
        return self._take(jobs, self.requeued)

    def drop(self, jobs: Sequence[Job]) -> list[str]:
        return self._take(jobs, self.dropped)

    def _take(self, jobs: Sequence[Job], taken: list[Job]) -> list[str]:
        self.asked.append(len(jobs))
        told = []
        for job in jobs:
            left = [one for one in self.letters if (one["operation"], one["user"]) != job]
            gone = len(left) == len(self.letters)
            told.append(f"there is no dead letter {':'.join(job)}" if gone else "")
            if not gone:
                taken.append(job)
            self.letters = left
        return told


class ScriptedSearch:
    """An index of made-up posts."""

    def __init__(self, count: int = 640, hostile: bool = True) -> None:
        dice = random.Random(11)
        places = [
            (45.46, 9.19),
            (41.9, 12.5),
            (48.86, 2.35),
            (40.71, -74.0),
            (35.68, 139.69),
            (-23.55, -46.63),
            (6.52, 3.38),
        ]
        tags = ["milano", "opendata", "calcio", "meteo", "elezioni", "musica", "treni", "cinema", "ricerca", "libri"]
        texts = (
            "The first snow on the Alps this year, and the trains still run on time",
            "Reading the open data of the city: every tree has its own number",
            "Nobody told me that the concert would be in the rain. Worth every minute",
            "A thread on how follower lists are paged, and why a cursor may repeat",
            "Good morning from the harbour",
        )
        start = 1_700_000_000
        self.posts = []
        for number in range(count):
            tag = dice.choices(tags, range(len(tags), 0, -1))[0]
            post: dict[str, Any] = {
                "id": str(10**17 + number),
                "user": USERS[number % 60],
                "screen_name": f"anna_{number % 60}",
                "text": f"{texts[number % len(texts)]} #{tag}",
                "created_at": start + int(abs(dice.gauss(0, 1)) * 86_400 * 90),
                "language": dice.choice(["it", "it", "en", "fr"]),
                "hashtags": [tag],
            }
            if number % 4 == 0:
                place = dice.choices(places, (9, 6, 3, 3, 2, 1, 1))[0]
                post["latitude"] = place[0] + dice.gauss(0, 1.2)
                post["longitude"] = place[1] + dice.gauss(0, 1.2)
            self.posts.append(post)
        if hostile:
            self.posts[0] |= {"text": HOSTILE, "screen_name": HOSTILE[:40], "created_at": start + 86_400 * 400}
        self.posts.sort(key=lambda post: -int(post["created_at"]))

    def search(self, question: Question) -> Findings:
        found = [
            post
            for post in self.posts
            if question.words.lower() in post["text"].lower()
            and (not question.author or question.author in (post["screen_name"], post["user"]))
            and (not question.hashtag or question.hashtag in post["hashtags"])
            and (not question.language or question.language == post["language"])
            and (question.since is None or post["created_at"] >= question.since)
            and (question.until is None or post["created_at"] < question.until)
            and (not question.located or "latitude" in post)
        ]
        week = 604_800
        histogram: dict[int, int] = {}
        tags: dict[str, int] = {}
        for post in found:
            start = post["created_at"] // week * week
            histogram[start] = histogram.get(start, 0) + 1
            for tag in post["hashtags"]:
                tags[tag] = tags.get(tag, 0) + 1
        return Findings(
            len(found),
            found[question.first : question.first + question.count],
            [(float(start), number) for start, number in sorted(histogram.items())],
            sorted(tags.items(), key=lambda item: -item[1]),
            [(p["latitude"], p["longitude"], p["id"], p["text"]) for p in found if "latitude" in p],
            took_ms=1.7,
        )

    def post(self, identifier: str) -> bytes | None:
        return next((orjson.dumps(post) for post in self.posts if post["id"] == identifier), None)


def dataset(output: Path, hostile: str = HOSTILE) -> FileDataset:
    """Three accounts on file: `USERS[2]` with everything, `USERS[1]` that led to it, `USERS[4]` that is protected."""
    kept = FileDataset(output)
    profile = {
        "id_str": USERS[2],
        "screen_name": "anna_rossi",
        "name": f"Anna Rossi {hostile}".strip(),
        "description": "Maps, trains, open data. Milano and elsewhere.",
        "location": "Milano",
        "followers_count": 2_340,
        "friends_count": 512,
        "statuses_count": 3_204,
        "created_at": "Wed Aug 27 13:08:45 +0000 2008",
        "lang": "it",
    }
    text = "Post number {}: nothing is lost, nothing comes twice. #opendata"
    posts = [
        {
            "id_str": str(10**17 + 1000 - number),
            "created_at": f"Wed Nov {1 + number % 27:02d} 13:08:45 +0000 2023",
            "text": hostile if hostile and number == 1 else text.format(number),
            "user": profile,
        }
        for number in range(130)
    ]
    draft = ReceiptDraft("autumn", expected=130, started="2026-11-20T10:00:00Z", finished="2026-11-20T10:04:10Z")
    page = Page(tuple(Record(post["id_str"], orjson.dumps(post)) for post in posts))  # type: ignore[arg-type]
    kept.merge(USERS[2], Operation.TIMELINE, [], page, draft)
    followers = Page(tuple(Record(user, user.encode()) for user in USERS[100:800]))
    kept.merge(USERS[2], Operation.FOLLOWER, [], followers, ReceiptDraft("autumn", expected=700))
    profiles = Page((Record(USERS[2], orjson.dumps(profile)),))
    kept.merge(USERS[1], Operation.ANALYSE, [], profiles, ReceiptDraft("autumn"))
    gone = ReceiptDraft("autumn", Outcome.PROTECTED, why="the account is protected")
    kept.record_outcome(USERS[4], Operation.TIMELINE, gone)
    return kept
