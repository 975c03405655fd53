"""What each transition does: accepted once, refused in words, and nothing but what it says."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import redis

from protocol.jobs import Job, Progress
from storage.ledger.job_codec import pack_job, unpack_job
from storage.ledger.ledger import AGAIN, GAP, MAX_TRANSITIONS, OK, STALE, Ledger
from storage.ledger.transitions import (
    AddJobs,
    Discover,
    GiveUp,
    HandOut,
    LogEntry,
    NewJob,
    PutBack,
    Remember,
    Rest,
    StorePage,
    Transition,
    Wake,
)
from tests.storage.ledger.scribe import ANALYSE, FOLLOWER, TIMELINE, Scribe, after, done, found, holdings, page


def x_part(token: str, step: int, _count: int) -> Transition:
    return Discover(token, step, found("T", "900"))


def back(token: str, queue: str = "front:T", record: bytes = b"", reason: str = "parked") -> Transition:
    return PutBack(token, queue, record, reason)


def retry(token: str, count: int = 0, user: str = "7") -> Transition:
    return Rest(token, f"T:{user}", after(0, count, user=user), LogEntry("job.failed", b"body"))


def dead(token: str, **more: Any) -> Transition:
    letter = msgpack.packb([pack_job(Job(TIMELINE, "7", progress=Progress(2, 9, 5, 0, "c"))), b"broken"])
    return GiveUp(
        token,
        "T:7",
        letter,
        queue=more.get("queue", ""),
        record=more.get("record", b""),
        front=more.get("front", False),
        level=more.get("level", ""),
        entry=LogEntry("job.dead", b"body"),
    )


STEPS: list[Callable[[str, int, int], Transition]] = [page, done, x_part]


@pytest.mark.parametrize("step", STEPS, ids="PDX")
@pytest.mark.parametrize("what", [lambda t: back(t), lambda t: retry(t), lambda t: dead(t)], ids="BRK")
def test_a_token_that_is_not_held_changes_nothing(
    scribe: Scribe, client: redis.Redis, step: Callable[..., Transition], what: Callable[..., Transition]
) -> None:
    token = scribe.leased()
    scribe.commit(done(token, 1, 2))
    before = holdings(client)
    for gone in (token, "other:1", "first:999"):
        assert scribe.status(step(gone, 2, 5)) == STALE
        assert scribe.status(what(gone)) == STALE
    changed = holdings(client)
    for held in (before, changed):
        held["{tmatic:test}:lead"].pop(b"beat")
    assert changed == before


@pytest.mark.parametrize("step", STEPS, ids="PDX")
def test_a_step_that_came_before_is_accepted_again_without_effect(
    scribe: Scribe, ledger: Ledger, step: Callable[..., Transition]
) -> None:
    token = scribe.leased()
    assert scribe.status(page(token, 1, 3)) == OK
    totals, held = ledger.totals(), ledger.held()
    assert scribe.status(step(token, 1, 100)) == AGAIN
    assert (ledger.totals(), ledger.held()) == (totals, held)


@pytest.mark.parametrize("step", STEPS, ids="PDX")
def test_a_step_that_skips_one_is_refused(scribe: Scribe, ledger: Ledger, step: Callable[..., Transition]) -> None:
    token = scribe.leased()
    totals, held = ledger.totals(), ledger.held()
    assert scribe.status(step(token, 2, 3)) == GAP
    assert (ledger.totals(), ledger.held()) == (totals, held)


def test_steps_of_one_batch_follow_one_another(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    reply = scribe.commit(page(token, 1, 3), page(token, 1, 3), page(token, 2, 8), done(token, 3, 9), page(token, 4, 9))
    assert reply.statuses == [OK, AGAIN, OK, OK, STALE]
    assert ledger.totals()["T.records"] == 9


def test_a_page_moves_the_job_and_keeps_its_lease(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    scribe.commit(page(token, 1, 20))
    lease = ledger.held()[token]
    assert unpack_job(after(1, 20)) == lease.job
    assert (lease.worker, lease.budget, lease.granted) == ("w1", "budget", 5)


def test_counts_are_absolute_and_only_their_difference_is_added(scribe: Scribe, ledger: Ledger) -> None:
    one, other = scribe.leased("7"), scribe.leased("8")
    scribe.commit(page(one, 1, 10), page(other, 1, 100, user="8"))
    scribe.commit(page(one, 1, 10))
    scribe.commit(page(one, 2, 25))
    scribe.commit(back(one))
    again = scribe.lease("front:T")[0][0]
    scribe.commit(page(one, 3, 999), page(again, 3, 30))
    scribe.commit(done(again, 4, 31), done(again, 4, 31))
    totals = ledger.totals()
    assert totals["T.records"] == 131
    assert (totals["T.steps"], totals["T.done"], totals["T.complete"], totals["back.parked"]) == (4, 1, 1, 1)
    assert totals["T.pages"] == 5, "the last page travels in the end"


def test_a_job_that_begins_anew_takes_its_count_back(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    scribe.commit(page(token, 1, 10))
    scribe.commit(Rest(token, "T:7", after(1, 0, cursor=""), LogEntry("job.failed", b"")))
    assert ledger.totals()["T.records"] == 0


def test_a_done_job_is_followed_by_the_next_of_its_chain(scribe: Scribe, ledger: Ledger) -> None:
    following = Job(FOLLOWER, "7", 0, "", (ANALYSE,))
    token = scribe.leased()
    reply = scribe.commit(done(token, 1, 2, queue="F", record=pack_job(following)), queues=["F", "T"])
    assert reply.lengths == {"F": 1, "T": 0}
    assert [unpack_job(record) for record in ledger.queue("F")] == [following]
    assert ledger.held() == {}


def test_what_goes_back_waits_before_all_others_as_it_was_held(scribe: Scribe, ledger: Ledger) -> None:
    tokens = [scribe.leased(user) for user in ("7", "8")]
    scribe.commit(page(tokens[0], 1, 4))
    scribe.commit(back(tokens[0]), back(tokens[1], record=after(0, 0, user="8", cursor="mine"), reason="bye"))
    first, second = [unpack_job(record) for record in ledger.queue("front:T")]
    assert (first.user, first.progress.steps, second.user, second.progress.cursor) == ("7", 1, "8", "mine")
    assert ledger.totals()["back.bye"] == 1


def test_jobs_are_handed_out_in_order_over_queues_up_to_what_was_asked(scribe: Scribe) -> None:
    scribe.target("1", "2", "3")
    scribe.commit(back(scribe.lease()[0][0]))
    flat = scribe.status(HandOut(["front:T", "T"], 2, "w", "b", 1))
    assert [unpack_job(record).user for record in flat[1::2]] == ["1", "2"]
    assert [unpack_job(record).user for _, record in scribe.lease(most=9)] == ["3"]
    assert scribe.lease(most=9) == []


def test_what_a_batch_brought_in_is_handed_out_in_the_same_batch(scribe: Scribe, ledger: Ledger) -> None:
    jobs = [NewJob("5", "T", pack_job(Job(TIMELINE, "5")), "")]
    reply = scribe.commit(AddJobs("seen", front=False, jobs=jobs), HandOut(["T"], 4, "w", "b", 1), queues=["T"])
    assert [unpack_job(record).user for record in reply.statuses[1][1::2]] == ["5"]
    assert (reply.lengths["T"], reply.held) == (0, 1)
    assert len(ledger.held()) == 1


def test_a_token_is_never_used_again(scribe: Scribe, ledger: Ledger) -> None:
    tokens = [scribe.leased()]
    for _ in range(5):
        scribe.commit(back(tokens[-1]))
        tokens.append(scribe.lease("front:T")[0][0])
    assert len(set(tokens)) == 6
    assert all(token.startswith("first:") for token in tokens)


def test_no_token_comes_again_after_a_roll_back_and_a_new_incarnation(ledger: Ledger, client: redis.Redis) -> None:
    scribe = Scribe.taking(ledger, "first")
    scribe.target(*map(str, range(1, 10)))
    kept = {key: client.dump(key) or b"" for key in client.scan_iter()}
    lost = {token for token, _ in scribe.lease(most=5)}
    client.flushdb()
    for key, dump in kept.items():
        client.restore(key, 0, dump)
    again = Scribe.taking(ledger, "second")
    assert lost.isdisjoint(token for token, _ in again.lease(most=9))
    assert all(scribe_status == STALE for scribe_status in again.commit(*(done(t, 1, 1) for t in lost)).statuses)


def test_a_failed_job_rests_until_it_is_woken(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    reply = scribe.commit(retry(token))
    assert (reply.held, reply.retry, list(ledger.retry())) == (0, 1, ["T:7"])
    assert scribe.status(Wake("T:7", "front:T")) == OK
    assert scribe.status(Wake("T:7", "front:T")) == STALE
    assert ledger.retry() == {}
    assert len(scribe.lease("front:T", 5)) == 1


def test_a_dead_letter_keeps_the_job_and_the_words(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    reply = scribe.commit(dead(token, queue="F", record=pack_job(Job(FOLLOWER, "7"))), queues=["F"])
    assert (reply.held, reply.dead, reply.lengths["F"]) == (0, 1, 1)
    [(job, words)] = ledger.dead()
    assert (job.user, job.progress.steps, job.progress.tries, words) == ("7", 2, 5, "broken")
    assert ledger.totals()["T.dead"] == 1


def test_levels_count_what_is_still_to_come(scribe: Scribe, ledger: Ledger) -> None:
    scribe.target("1", "2", "3", level="0")
    tokens = [token for token, _ in scribe.lease(most=3)]
    reply = scribe.commit(done(tokens[0], 1, 0, level="0", found=found("T", "10", "11", "1", level="1")))
    assert reply.levels == {0: 2, 1: 2}
    reply = scribe.commit(done(tokens[1], 1, 0, level="0"), dead(tokens[2], level="0"))
    assert reply.levels == {0: 0, 1: 2}


def test_a_target_is_taken_once_in_each_set(scribe: Scribe, ledger: Ledger) -> None:
    assert scribe.target("1", "2", "1") == 2
    assert scribe.target("1", "2", "3", level="0") == 1
    assert ledger.length("T") == 3
    assert scribe.status(AddJobs("updated1", front=False, jobs=[NewJob("1", "U", b"x", "")])) == 1
    assert ledger.totals()["intake.seen"] == 3


def test_what_the_crawl_remembers_is_written_over(scribe: Scribe, ledger: Ledger) -> None:
    scribe.commit(Remember("depth", "2"), Remember("depth", "3"), Remember("note", "Nähe"))
    assert ledger.remembered() == {"depth": "3", "note": "Nähe"}


def test_a_whole_batch_of_leases_and_pages_is_one_commit(scribe: Scribe, ledger: Ledger) -> None:
    for first in range(0, 4096, 1024):
        scribe.target(*(str(n) for n in range(first + 1, first + 1025)))
    tokens = [token for token, _ in scribe.lease(most=MAX_TRANSITIONS)]
    assert len(set(tokens)) == MAX_TRANSITIONS
    assert scribe.commit(*(page(token, 1, 2) for token in tokens)).statuses == [OK] * MAX_TRANSITIONS
    assert scribe.commit(*(done(token, 2, 2) for token in tokens)).held == 0
    assert ledger.totals()["T.records"] == 2 * MAX_TRANSITIONS
    assert len(scribe.lease(most=4096)) == 4096 - MAX_TRANSITIONS


def test_the_same_calls_make_the_same_ledger(ledger: Ledger, client: redis.Redis) -> None:
    def history(seed: int) -> dict[str, Any]:
        client.flushdb()
        chance = random.Random(seed)
        scribe = Scribe.taking(ledger)
        held: list[str] = []
        steps: dict[str, int] = {}
        for number in range(60):
            users = [str(chance.randrange(1 << 62)) for _ in range(chance.randrange(200))]
            scribe.target(*users, level=str(number % 3))
            held += [token for token, _ in scribe.lease(most=chance.randrange(9))]
            chance.shuffle(held)
            batch: list[Transition] = []
            for token in held[:4]:
                steps[token] = steps.get(token, 0) + 1
                some = found(chance.choice(["T", ""]), *(str(chance.randrange(5000)) for _ in range(50)), front=True)
                batch.append(chance.choice([page, done])(token, steps[token], steps[token], found=some))
            held = held[4:] + [transition.token for transition in batch if isinstance(transition, StorePage)]
            scribe.commit(*batch, max_users=9000)
        return holdings(client)

    first, again, other = history(1), history(1), history(2)
    assert first == again
    assert first != other
    assert any(len(value) > 1 for key, value in first.items() if "set:seen" in key)


def test_a_restarted_server_has_lost_the_script_and_nothing_is_noticed(scribe: Scribe, client: redis.Redis) -> None:
    scribe.target("1")
    for _ in itertools.repeat(None, 2):
        client.script_flush()
        assert len(scribe.lease()) <= 1
    assert scribe.ledger.length("T") == 0
