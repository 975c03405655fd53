"""Discoveries: each account enters once, with the page that led to it, where its traversal wants it."""

from __future__ import annotations

import redis

from protocol.jobs import Job
from storage.ledger.job_codec import pack_job, unpack_job
from storage.ledger.ledger import AGAIN, GAP, MAX_DISCOVERIES, OK, Ledger
from storage.ledger.transitions import AddAccounts, Discover, HandOut
from tests.storage.ledger.scribe import TIMELINE, Scribe, done, found, holdings, page


def users(ledger: Ledger, queue: str) -> list[str]:
    return [unpack_job(record).user for record in ledger.queue(queue)]


def test_an_account_is_discovered_once(scribe: Scribe, ledger: Ledger) -> None:
    one, other = scribe.leased("7"), scribe.leased("8")
    scribe.commit(page(one, 1, 3, found=found("T", "20", "21", "20", "7")))
    scribe.commit(page(other, 1, 3, found=found("T", "21", "22"), user="8"))
    assert users(ledger, "T") == ["20", "21", "22"]
    assert ledger.totals()["discovered"] == 3
    assert sorted(ledger.accounts("seen"), key=int) == ["7", "8", "20", "21", "22"]


def test_what_came_with_a_stale_old_or_skipping_step_is_not_taken(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    scribe.commit(page(token, 1, 1))
    assert scribe.status(page(token, 1, 1, found=found("T", "20"))) == AGAIN
    assert scribe.status(page(token, 3, 1, found=found("T", "21"))) == GAP
    assert scribe.status(page("gone:1", 2, 1, found=found("T", "22"))) == 0
    assert list(ledger.accounts("seen")) == ["7"]
    assert users(ledger, "T") == []


def test_seeds_are_never_discovered(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    assert scribe.status(AddAccounts(["20", "21", "20"])) == 2
    scribe.commit(page(token, 1, 3, found=found("T", "20", "21", "22")))
    assert users(ledger, "T") == ["22"]
    assert ledger.totals()["known"] == 2
    scribe.commit(page(token, 2, 3, found=found("", "21", "23")))
    assert list(ledger.queue("collected")) == [b"23"]


def test_a_seed_that_is_a_target_is_crawled(scribe: Scribe) -> None:
    scribe.commit(AddAccounts(["20"]))
    assert scribe.target("20") == 1


def test_what_is_collected_is_neither_seen_nor_followed(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    reply = scribe.commit(page(token, 1, 3, found=found("", "20", "7", "21", "20")))
    scribe.commit(page(token, 2, 3, found=found("", "21", "22")))
    assert list(ledger.queue("collected")) == [b"20", b"21", b"22"]
    assert reply.seen == 1
    assert sorted(ledger.accounts("collected")) == ["20", "21", "22"]
    assert "discovered" not in ledger.totals()


def test_no_more_accounts_enter_than_max_users(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    reply = scribe.commit(page(token, 1, 5, found=found("T", "20", "21", "22", "20", "7", "23")), max_users=3)
    assert reply.seen == 3
    assert users(ledger, "T") == ["20", "21"]
    assert (ledger.totals()["discovered"], ledger.totals()["turned away"]) == (2, 2)
    assert scribe.commit(page(token, 2, 5, found=found("T", "22", "24")), max_users=4).seen == 4
    assert users(ledger, "T") == ["20", "21", "22"]


def test_breadth_first_discoveries_wait_behind_those_before(scribe: Scribe, ledger: Ledger) -> None:
    one, other = scribe.leased("7"), scribe.leased("8")
    scribe.commit(
        page(one, 1, 1, found=found("T", "20", "21")), page(other, 1, 1, found=found("T", "30", "31"), user="8")
    )
    scribe.commit(page(one, 2, 1, found=found("T", "22")))
    assert users(ledger, "T") == ["20", "21", "30", "31", "22"]


def test_depth_first_discoveries_wait_before_those_before_and_keep_the_order_of_their_page(
    scribe: Scribe, ledger: Ledger
) -> None:
    token = scribe.leased()
    scribe.commit(page(token, 1, 1, found=found("T", "20", "21", "22", front=True)))
    scribe.commit(page(token, 2, 1, found=found("T", "30", "31", front=True)))
    assert users(ledger, "T") == ["30", "31", "20", "21", "22"]


def test_the_next_step_of_an_account_goes_on_before_what_it_led_to_earlier(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    scribe.commit(page(token, 1, 1, found=found("F", "20", "21", front=True)))
    scribe.commit(done(token, 2, 1, queue="F", record=pack_job(Job(TIMELINE, "7")), front=True))
    assert users(ledger, "F") == ["7", "20", "21"]


def test_discoveries_of_one_batch_over_many_pages_are_all_there(scribe: Scribe, ledger: Ledger) -> None:
    scribe.target(*map(str, range(1, 257)))
    tokens = [token for token, _ in scribe.lease(most=256)]
    pages = [
        page(t, 1, 16, found=found("T", *(str(10**6 + 16 * n + i) for i in range(16)))) for n, t in enumerate(tokens)
    ]
    assert scribe.commit(*pages).statuses == [OK] * 256
    assert users(ledger, "T") == [str(10**6 + n) for n in range(4096)]


def test_a_page_of_4096_discoveries_is_one_commit_at_either_end(scribe: Scribe, ledger: Ledger) -> None:
    token = scribe.leased()
    behind, before = ([str(base + n) for n in range(MAX_DISCOVERIES)] for base in (10**6, 10**7))
    scribe.commit(page(token, 1, 1, found=found("T", *behind)))
    scribe.commit(page(token, 2, 1, found=found("T", *before, front=True)))
    assert users(ledger, "T") == [*before, *behind]
    assert ledger.sizes()["seen"][0] == 1 + 2 * MAX_DISCOVERIES


def test_jobs_are_handed_out_in_depth_first_order_of_a_batch_of_4096(scribe: Scribe) -> None:
    token = scribe.leased()
    some = [str(10**6 + n) for n in range(MAX_DISCOVERIES)]
    reply = scribe.commit(page(token, 1, 1, found=found("T", *some, front=True)), HandOut(["T"], 200, "w", "b", 1))
    assert [unpack_job(record).user for record in reply.statuses[1][1::2]] == some[:200]


def test_a_part_of_a_large_step_comes_once_however_often_it_is_sent(
    scribe: Scribe, ledger: Ledger, client: redis.Redis
) -> None:
    token = scribe.leased()
    for _ in range(2):
        assert scribe.status(Discover(token, 1, found("T", "20", "21"))) == OK
    assert scribe.status(page(token, 1, 3, found=found("T", "22"))) == OK
    before = holdings(client)["{tmatic:test}:queue:T"]
    assert scribe.status(Discover(token, 1, found("T", "23"))) == AGAIN
    assert holdings(client)["{tmatic:test}:queue:T"] == before
    assert users(ledger, "T") == ["20", "21", "22"]


def test_a_question_about_a_token_brings_no_discoveries(scribe: Scribe) -> None:
    token = scribe.leased()
    assert scribe.commit(Discover(token, 1, None), Discover("gone:1", 1, None)).statuses == [OK, 0]
