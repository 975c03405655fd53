"""What strangers may say: no bytes crash the decoding, no messages the decisions."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st

from master.dispatch.dispatcher import MAX_PENDING, Dispatch
from master.dispatch.snapshot import Snapshot
from master.frontier.plan import SEEN
from master.frontier.seed_files import targets
from master.frontier.traversal import Traversal, Traversing
from master.policy import CrawlPolicy
from protocol import messages as wire
from protocol.errors import MalformedError
from protocol.fields import MAX_ITEMS
from protocol.jobs import Job, Operation, Outcome
from storage.ledger.job_codec import MAX_DEPTH, unpack_job
from storage.ledger.ledger import Ledger, Reply

QUEUES = ["T", "F", "A", "U", "front:T", "front:F", "front:A", "front:U"]
PEERS = (b"honest", b"stranger 1", b"stranger 2")
CRAWLS = itertools.count()

records = st.one_of(st.integers(0, 5), st.just((1 << 48) - 1))
numbers = st.one_of(st.integers(0, 5), st.sampled_from([(1 << 48) - 1, (1 << 53) - 1]))
tokens = st.one_of(st.sampled_from([f"inc:{n}" for n in range(1, 8)]), st.text(max_size=3))
words = st.one_of(
    st.sampled_from(["honest", "other", "run1", "run2", "twitter", "address:1", "F"]), st.text(max_size=3)
)
accounts = st.lists(st.one_of(st.sampled_from(["1", "2", "x" * 255]), st.text(min_size=1, max_size=3)), max_size=4)
operations = st.sampled_from(["T", "F", "A", "U"])
spents = st.lists(st.builds(wire.Spent, tokens, numbers, numbers, numbers), max_size=4)
reports = st.lists(
    st.builds(wire.BudgetReport, words, words, st.one_of(st.just(-1), numbers), *[numbers] * 5), max_size=3
)
callers = st.lists(st.builds(wire.Caller, operations, words, words), max_size=3)
services = st.one_of(st.just("twitter"), words)
steps = st.builds(wire.Step, tokens, numbers, records, words, numbers, accounts, numbers)
outcomes = st.sampled_from(["", *(outcome.value for outcome in Outcome)])
ends = st.builds(
    wire.End,
    tokens,
    st.sampled_from(sorted(wire.ENDS)),
    numbers,
    records,
    outcomes,
    accounts,
    numbers,
    words,
    stored=st.sampled_from((0, 1)),
)
from_workers: Any = st.one_of(
    st.builds(wire.Hello, words, words, services, st.lists(operations, max_size=3), numbers, callers, spents, reports),
    st.builds(wire.ProgressMade, st.lists(steps, max_size=3), reports),
    st.builds(wire.Result, st.lists(ends, max_size=3), reports),
    st.builds(wire.Heartbeat, words, numbers, spents, reports),
    st.builds(wire.Bye, words),
    st.builds(wire.Status, words),
    st.builds(wire.Welcome, words, numbers, words, numbers, words),
    st.builds(wire.Quit, numbers, words),
    st.builds(wire.Refused, words, words),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=3), inner)),
    max_leaves=20,
)
kinds = st.sampled_from(sorted(wire.TYPES.values()))


def decoded_or_refused(frames: list[bytes]) -> None:
    try:
        message = wire.decode(frames)
    except MalformedError as error:
        assert str(error)
    else:
        assert wire.decode(wire.encode(message)) == message


@given(st.lists(st.one_of(st.binary(max_size=40), kinds, st.just(wire.VERSION)), max_size=5))
def test_any_frames_are_a_message_or_malformed(frames: list[bytes]) -> None:
    decoded_or_refused(frames)


@given(kinds, st.binary(max_size=200))
def test_any_bytes_as_a_body_are_a_message_or_malformed(kind: bytes, body: bytes) -> None:
    decoded_or_refused([wire.VERSION, kind, body])


@given(kinds, anything)
def test_any_msgpack_as_a_body_is_a_message_or_malformed(kind: bytes, body: Any) -> None:
    decoded_or_refused([wire.VERSION, kind, msgpack.packb(body)])


@given(from_workers, st.integers(0, 10_000), st.integers(1, 255))
def test_a_message_with_one_byte_changed_is_a_message_or_malformed(message: Any, where: int, by: int) -> None:
    frames = [bytearray(frame) for frame in wire.encode(message)]
    body = frames[2]
    body[where % len(body)] ^= by
    decoded_or_refused([bytes(frame) for frame in frames])


@pytest.mark.parametrize(
    "body", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 100_000]
)
def test_a_body_that_claims_to_be_huge_or_deep_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        wire.decode([wire.VERSION, b"BYE", body])


class Table:
    """A dispatch on a real ledger, with a clock by hand."""

    def __init__(self, client: redis.Redis, terms: CrawlPolicy | None = None) -> None:
        self.ledger = Ledger(client, f"strange{next(CRAWLS)}")
        lead = self.ledger.take("inc", self.ledger.observe(), witness=0, ledger_id="id", name="test")
        self.beat, self.now = lead.beat, 0.0
        walk = Traversal((Operation.FOLLOWER, Operation.ANALYSE), Traversing.BFS, 3)
        empty = Reply([], dict.fromkeys(QUEUES, 0), {}, 0, 0, 0, 0)
        loaded = Snapshot({}, {}, empty)
        self.dispatch = Dispatch(lead, walk, terms or CrawlPolicy(grace=0.0), loaded, 0.0, random.Random(1))
        self.dispatch.intake = targets(["1", "2", "3"], walk, SEEN)
        self.sent: list[tuple[bytes, wire.Message]] = []

    def turn(self, seconds: float = 0.1) -> None:
        """Let time pass, and commit what waits."""
        self.now += seconds
        self.dispatch.tick(self.now)
        batch = self.dispatch.next_batch(self.now)
        if batch is not None:
            reply = self.ledger.commit("inc", self.beat, batch, self.dispatch.queues)
            self.beat += 1
            self.dispatch.committed(self.now, reply)
        self.sent += self.dispatch.outbox
        self.dispatch.outbox = []

    def say(self, peer: bytes, message: wire.Message) -> None:
        """A message comes, by way of its bytes."""
        self.dispatch.receive(self.now, peer, wire.decode(wire.encode(message)))

    def jobs(self, peer: bytes) -> list[wire.Assignment]:
        """The jobs that were sent to a peer."""
        return [job for to, m in self.sent if to == peer and isinstance(m, wire.JobGiven) for job in m.jobs]


def hello(name: str = "honest", run: str = "run1", **fields: Any) -> wire.Hello:
    callers = [wire.Caller("F", "address:1", "ids"), wire.Caller("A", "address:1", "lookup")]
    return wire.Hello(name, run, "twitter", ["F", "A"], 2, callers, [], [])._replace(**fields)


@pytest.fixture
def table(valkey: str) -> Callable[..., Table]:
    client = redis.Redis.from_url(valkey)
    return lambda terms=None: Table(client, terms)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PEERS), from_workers, st.booleans()), max_size=12))
def test_no_message_of_anybody_ends_the_decisions(
    table: Callable[..., Table], said: list[tuple[bytes, wire.Message, bool]]
) -> None:
    one = table()
    one.say(b"honest", hello())
    one.turn()
    one.turn()
    for peer, message, pause in said:
        one.say(peer, message)
        if pause:
            one.turn()
    for _ in range(5):
        one.turn(5.0)


def test_a_peer_that_takes_another_name_leaves_its_jobs_to_others(table: Callable[..., Table]) -> None:
    one = table()
    one.say(b"stranger", hello("first"))
    one.turn()
    one.turn()
    assert one.jobs(b"stranger")
    one.say(b"stranger", hello("second", operations=[], callers=[]))
    unmetered = [wire.BudgetReport("address:1", "ids", -1, 0, 0, 0)]
    one.say(b"honest", hello("honest", room=9, budgets=unmetered))
    for _ in range(4):
        one.turn()
    assert {job.user for job in one.jobs(b"honest")} == {"1", "2", "3"}
    assert set(one.dispatch.worker_table.by_name) == {"second", "honest"}
    one.say(b"back again", hello("first"))
    one.turn()


def test_a_stranger_who_changes_names_fills_no_memory(
    table: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("master.dispatch.budgets.MAX_BUDGETS", 100)
    one = table(CrawlPolicy(max_clients=3))
    for n in range(1000):
        one.say(b"stranger", hello(f"name{n}", callers=[wire.Caller("F", f"who{n}", "ids")]))
        one.say(b"stranger 2", wire.ProgressMade([], [wire.BudgetReport(f"who{n}", "ids", 15, 15, 1, 1000)]))
    one.turn()
    one.turn()
    assert len(one.dispatch.worker_table.by_name) <= 3
    assert len(one.dispatch.budgets.by_key) <= 100


def test_what_a_stranger_says_of_a_budget_is_not_believed(table: Callable[..., Table]) -> None:
    one = table()
    one.say(b"honest", hello(room=9))
    one.say(b"stranger", wire.ProgressMade([], [wire.BudgetReport("address:1", "ids", 15, 0, 1 << 52, 1 << 52)]))
    one.turn()
    one.turn()
    assert one.jobs(b"honest")


def test_stale_tokens_fill_no_memory(table: Callable[..., Table]) -> None:
    one = table()
    step = wire.Step("no token", 1, 0, "", 0, [], 0)
    for _ in range(20):
        one.say(b"stranger", wire.ProgressMade([step] * MAX_ITEMS, []))
    assert one.dispatch.counted["words dropped"] == 20 * MAX_ITEMS - MAX_PENDING


def test_a_job_that_its_worker_never_lists_goes_to_another(table: Callable[..., Table]) -> None:
    one = table(CrawlPolicy(grace=0.0, progress_timeout=30.0))
    one.say(b"stranger", hello("deaf", room=9))
    one.turn()
    one.turn()
    for _ in range(40):
        one.say(b"stranger", wire.Heartbeat("run1", 0, [], []))
        one.turn(1.0)
    one.say(b"honest", hello(room=9))
    one.turn()
    one.turn()
    assert one.jobs(b"honest")


def test_a_job_of_many_leases_can_be_sent() -> None:
    segments = [[f"inc:{n}", 1] for n in range(10_000)]
    job = wire.Assignment("inc:10000", "F", "1", 0, 10_000, 0, "", segments, "address:1", 4)
    message = wire.JobGiven(1, [job])
    assert wire.decode(wire.encode(message)) == message


def test_a_path_that_is_longer_than_a_record_can_tell_goes_on() -> None:
    walk = Traversal((Operation.FOLLOWER, Operation.ANALYSE), Traversing.DFS)
    found = walk.discoveries(Job(Operation.ANALYSE, "1", MAX_DEPTH), ["2"])
    assert found is not None
    assert unpack_job(found.records[0]).depth == MAX_DEPTH
