"""The log tells what was committed, in one sequence without a gap, and keeps to its size."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from storage.ledger import ledger as module
from storage.ledger.ledger import Ledger
from storage.ledger.transitions import LogEntry, PutBack, StorePage
from tests.storage.ledger.scribe import Scribe, after, done, page

CAP = 100_000


def test_each_announcement_knows_the_one_before_it_of_its_topic(scribe: Scribe, ledger: Ledger) -> None:
    one, other = scribe.leased("7"), scribe.leased("8")
    scribe.commit(page(one, 1, 1), page(other, 1, 1, user="8"), done(one, 2, 1))
    scribe.commit(page(other, 2, 1, user="8"), done(other, 3, 1))
    assert ledger.log() == [
        (1, 0, "timeline.page", b"body"),
        (2, 1, "timeline.page", b"body"),
        (3, 0, "job.done", b"body"),
        (4, 2, "timeline.page", b"body"),
        (5, 3, "job.done", b"body"),
    ]
    assert ledger.heads() == {"": 5, "timeline.page": 4, "job.done": 5}
    totals = ledger.totals()
    assert (totals["announced.timeline.page"], totals["announced.job.done"]) == (3, 2)


def test_what_was_not_accepted_is_not_announced(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    scribe.commit(page(token, 1, 1))
    before = ledger.log(), ledger.heads()
    scribe.commit(page(token, 1, 1), page(token, 3, 1), done("gone:1", 1, 1), PutBack(token, "front:T", b"", "bye"))
    assert (ledger.log(), ledger.heads()) == before


def test_a_step_without_an_announcement_leaves_the_log_alone(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    scribe.commit(StorePage(token, 1, 1, after(1, 1), None, None, "budget", 3), done(token, 2, 1, entry=None))
    assert ledger.log() == []
    assert ledger.totals()["T.done"] == 1


def test_the_log_keeps_to_its_cap_and_its_sequence_goes_on(
    scribe: Scribe, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_CAP_BYTES", CAP)
    token, body = scribe.leased(), b"x" * 1000
    step, longest = 0, 0
    for _ in range(40):
        batch: list[Any] = []
        for _ in range(10):
            step += 1
            batch.append(StorePage(token, step, 1, after(step, 1), None, LogEntry("timeline.page", body), "budget", 3))
        scribe.commit(*batch)
        kept = ledger.log()
        longest = max(longest, sum(len(msgpack.packb(list(entry))) for entry in kept))
        assert kept == [(n, n - 1, "timeline.page", body) for n in range(kept[0][0], step + 1)] if kept else True
    assert longest <= CAP
    assert ledger.heads() == {"": 400, "timeline.page": 400}


def test_trimming_takes_at_most_256_entries_more_than_it_must(
    scribe: Scribe, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_CAP_BYTES", CAP)
    token, body, step, fewest = scribe.leased(), b"x" * 100, 0, 10**6
    for _ in range(60):
        batch: list[Any] = []
        for _ in range(50):
            step += 1
            batch.append(StorePage(token, step, 1, after(step, 1), None, LogEntry("timeline.page", body), "budget", 3))
        scribe.commit(*batch)
        kept = ledger.log()
        if kept[0][0] > 1:
            fewest = min(fewest, len(kept))
    assert step == kept[-1][0] == 3000
    assert CAP / 130 - 256 - 50 < fewest < CAP / 100


def test_a_part_of_the_log_is_read_by_its_place(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    for step in range(1, 6):
        scribe.commit(page(token, step, 1))
    assert [entry[0] for entry in ledger.log(-2)] == [4, 5]
    assert [entry[0] for entry in ledger.log(0, 1)] == [1, 2]
