"""What the dataset may cost: an update of a few posts is no rewriting of the file."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from protocol.jobs import Operation, Segment
from storage.dataset.files import merge
from storage.dataset.files.dataset import FileDataset
from storage.dataset.files.gzip_members import Chunk
from storage.dataset.interface import Page, Record
from tests.storage.dataset.pages import USER, draft

BASE = 10**17
PROFILE = {f"profile_field_{n}": f"https://pictures.example/{n * 7919}/{n}.jpg" for n in range(20)}
WORDS = [f"{chr(97 + n % 26)}{n * 7919 % 1000:x}" for n in range(500)]


def page(newest: int, number: int) -> Page:
    """As many posts, of some 1.6 KB each: words that vary, and the author's profile, as the services repeat it."""
    chance = random.Random(newest)
    records = []
    for identifier in range(newest, newest - number, -1):
        text = " ".join(f"{chance.choice(WORDS)}{chance.choice(WORDS)}" for _ in range(30))
        value = {"id_str": str(identifier), "text": text, "retweet_count": chance.randrange(100), "user": PROFILE}
        records.append(Record(str(identifier), json.dumps(value).encode()))
    return Page(tuple(records))


def one_group(fresh: list[Chunk], old: list[Chunk]) -> list[list[Chunk]]:
    """As if every member met every other, so that all are decoded, united and written anew."""
    return [[*fresh, *old]]


def full_timeline(folder: Path) -> FileDataset:
    """A dataset with one timeline of 3,200 posts."""
    dataset, length = FileDataset(folder), 0
    for number in range(16):
        length = dataset.append(USER, Operation.TIMELINE, "t", length, page(BASE - 200 * number, 200))
    dataset.merge(USER, Operation.TIMELINE, [Segment("t", length)], None, draft("t"))
    return dataset


def update_cost(dataset: FileDataset, name: str) -> float:
    """CPU seconds of an update by five posts."""
    fresh = page(int(dataset.newest(USER) or 0) + 5, 5)
    before = time.process_time()
    dataset.merge(USER, Operation.UPDATE, (), fresh, draft(name))
    return time.process_time() - before


@pytest.mark.serial
def test_an_update_costs_a_tenth_of_rewriting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    updated, rewritten = full_timeline(tmp_path / "updated"), full_timeline(tmp_path / "rewritten")
    updates, rewrites = [], []
    for number in range(60):  # in turns, and the cheapest of each: a machine is slow for a while, and fast again
        updates.append(update_cost(updated, f"t{number}"))
        with monkeypatch.context() as patched:
            patched.setattr(merge, "_groups", one_group)
            rewrites.append(update_cost(rewritten, f"t{number}"))
    update, rewrite = min(updates), min(rewrites)
    print(f"update {update * 1e3:.2f} ms, rewrite {rewrite * 1e3:.2f} ms: {update / rewrite:.3f}")
    assert update <= rewrite / 10
