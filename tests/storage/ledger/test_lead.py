"""Who leads is decided by compare-and-set, and nobody else changes anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis
from redis.crc import key_slot

from protocol.errors import FencedError
from storage.ledger.ledger import Lead, Ledger
from storage.ledger.transitions import AddAccounts, LogEntry, Remember, Rest
from tests.storage.ledger.scribe import Scribe, holdings

NOBODY = Lead("", 0, 0, "", "")


def take(ledger: Ledger, incarnation: str, seen: Lead, *, witness: int = 0, ledger_id: str = "id") -> Lead:
    return ledger.take(incarnation, seen, witness=witness, ledger_id=ledger_id, name=incarnation)


def test_a_new_ledger_was_never_led(ledger: Ledger) -> None:
    assert ledger.observe() == NOBODY


def test_of_two_that_saw_the_same_one_takes_the_lead(ledger: Ledger, client: redis.Redis) -> None:
    seen = ledger.observe()
    first = take(ledger, "a", seen)
    before = holdings(client)
    with pytest.raises(FencedError, match="another incarnation leads, or the beat went on"):
        take(ledger, "b", seen)
    assert holdings(client) == before
    assert ledger.observe() == first


def test_the_lead_is_not_taken_from_one_whose_beat_went_on(scribe: Scribe, ledger: Ledger) -> None:
    seen = ledger.observe()
    scribe.commit()
    with pytest.raises(FencedError):
        take(ledger, "b", seen)
    scribe.commit()


def test_who_lost_the_lead_finds_out_at_its_next_write(scribe: Scribe, ledger: Ledger, client: redis.Redis) -> None:
    take(ledger, "b", ledger.observe())
    before = holdings(client)
    with pytest.raises(FencedError, match="another incarnation leads"):
        scribe.target("1", "2")
    assert holdings(client) == before


def test_an_old_beat_of_the_right_incarnation_changes_nothing(scribe: Scribe, client: redis.Redis) -> None:
    scribe.target("1")
    before = holdings(client)
    for beat in (scribe.beat - 1, scribe.beat + 1):
        with pytest.raises(FencedError, match="the beat is not the one that was written last"):
            scribe.ledger.commit("first", beat, [Remember("word", "value")], [])
    assert holdings(client) == before


def test_every_commit_is_a_beat(scribe: Scribe, ledger: Ledger) -> None:
    beats = []
    for _ in range(3):
        scribe.commit()
        beats.append(ledger.observe().beat)
    assert beats == [2, 3, 4]


def test_a_lead_given_back_is_free_at_once(scribe: Scribe, ledger: Ledger) -> None:
    ledger.release(scribe.lead.incarnation, scribe.beat)
    seen = ledger.observe()
    assert (seen.incarnation, seen.beat, seen.epoch) == ("", 0, 1)
    assert take(ledger, "b", seen).epoch == 2


def test_nobody_gives_back_the_lead_of_another(scribe: Scribe, ledger: Ledger, client: redis.Redis) -> None:
    scribe.commit()
    before = holdings(client)
    for lead in (replace(scribe.lead, beat=scribe.beat, incarnation="b"), scribe.lead):
        with pytest.raises(FencedError):
            ledger.release(lead.incarnation, lead.beat)
    assert holdings(client) == before
    assert ledger.totals()["refused"] == 2


def test_after_giving_back_nothing_is_written(scribe: Scribe, ledger: Ledger) -> None:
    ledger.release(scribe.lead.incarnation, scribe.beat)
    with pytest.raises(FencedError):
        scribe.commit()


def test_epochs_rise_by_one_and_never_below_a_witness(ledger: Ledger) -> None:
    first = take(ledger, "a", NOBODY)
    second = take(ledger, "b", first, witness=40)
    third = take(ledger, "c", second, witness=7)
    assert [lead.epoch for lead in (first, second, third)] == [1, 41, 42]
    assert ledger.observe().epoch == 42


def test_a_ledger_keeps_the_id_that_it_was_given_first(ledger: Ledger) -> None:
    first = take(ledger, "a", NOBODY, ledger_id="born")
    assert take(ledger, "b", first, ledger_id="other").ledger_id == "born"
    assert ledger.observe().ledger_id == "born"


def test_two_crawls_on_one_server_know_nothing_of_each_other(client: redis.Redis) -> None:
    one, other = Scribe.taking(Ledger(client, "one")), Scribe.taking(Ledger(client, "other"))
    assert one.target("1") == 1
    assert other.target("1") == 1
    assert one.ledger.length("T") == other.ledger.length("T") == 1
    assert not other.ledger.held()


def test_all_keys_of_a_crawl_share_one_hash_tag(scribe: Scribe, client: redis.Redis) -> None:
    scribe.target(*map(str, range(1, 1000)), level="0")
    scribe.commit(AddAccounts(["5000"]), Remember("word", "value"))
    token = scribe.lease()[0][0]
    scribe.commit(Rest(token, "T:1", b"\x00\x19\x00\x01", LogEntry("job.failed", b"")))
    names = [key.decode() for key in client.scan_iter()]
    assert len(names) > 10
    assert all(name.startswith("{tmatic:test}:") for name in names)
    assert len({key_slot(name.encode()) for name in names}) == 1
