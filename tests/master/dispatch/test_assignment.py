"""Work is handed out within room, waiting jobs and budgets; spread over workers and operations; until nothing fits."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from master.dispatch.assignment import GRANT, GRANT_UNMETERED, Assigner, JobDemand
from master.dispatch.budgets import Budgets, budget_key
from master.dispatch.circuit_breaker import CircuitBreakers
from master.dispatch.leases import Lease
from master.dispatch.workers import Worker, WorkerTable
from master.frontier.traversal import Traversal, Traversing
from protocol.jobs import Job, Operation
from protocol.messages import BudgetReport, Caller, Hello
from storage.ledger.ledger import Reply

T, F, A = Operation.TIMELINE, Operation.FOLLOWER, Operation.ANALYSE
MANY = 1000


class House:
    """Workers, waiting jobs and budgets, where every wish is granted by the ledger at once."""

    def __init__(
        self, waiting: dict[str, int], *, levels: dict[int, int] | None = None, levelled: bool = False
    ) -> None:
        self.budgets, self.worker_table = Budgets(), WorkerTable()
        self.walk = Traversal((T, F, A), Traversing.BFS, 3 if levelled else 0)
        self.assigner = Assigner(self.budgets, self.walk, CircuitBreakers())
        self.reply = Reply([], dict(waiting), levels or {}, 0, 0, 0, 0)
        self.handed: dict[str, list[tuple[str, int]]] = {}

    def worker(self, name: str, room: int, remaining: dict[str, int]) -> Worker:
        """One that calls as itself; `remaining` says what is left of each operation's budget, -1 for not counted."""
        callers = [Caller(letter, name, letter) for letter in remaining]
        hello = Hello(name, "run", "service", [*remaining], room, callers, [], [])
        for letter, left in remaining.items():
            self.budgets.of(budget_key("service", name, letter))
            said = BudgetReport(name, letter, -1 if left < 0 else MANY, max(0, left), 1, 10**6)
            self.budgets.report("service", 0, [said], b"peer")
        self.handed[name] = []
        return self.worker_table.join(name.encode(), hello, 0)

    def batch(self, most: int = 256, transitions: int = 256, *, intake: bool = False) -> list[JobDemand]:
        self.assigner.stir()
        demands = self.assigner.demands(0, self.worker_table, self.reply, most, transitions, intake)
        for demand in demands:
            worker, jobs = self.worker_table.by_name[demand.worker], 0
            for queue in demand.transition.queues:
                got = min(demand.wanted - jobs, self.reply.lengths.get(queue, 0))
                if got:
                    self.reply.lengths[queue] -= got
                jobs += got
            for _ in range(jobs):
                token = f"t{len(self.worker_table.leases)}"
                lease = Lease(token, Job(T, token), worker.name, demand.budget, demand.granted)
                self.worker_table.leases[token] = lease
                self.worker_table.give(lease, worker)
                self.handed[worker.name].append((demand.budget.rpartition(" ")[2], demand.granted))
            self.assigner.leased(demand, jobs)
        return demands

    def could_give(self) -> bool:
        return any(
            worker.free > 0 and self.waits(operation) and self.budgets.available(key, 0) > 0
            for worker in self.worker_table.workers.values()
            for operation, keys in worker.budgets.items()
            for key in keys
        )

    def waits(self, operation: Operation) -> bool:
        return any(self.reply.lengths.get(q, 0) for q in self.walk.sources(operation, self.reply.levels))


QUEUES = st.dictionaries(st.sampled_from(["T", "F", "A", "front:T", "front:F", "front:A"]), st.integers(0, 300))
WORKERS = st.lists(
    st.tuples(st.integers(0, 20), st.dictionaries(st.sampled_from("TFA"), st.integers(-1, 60), min_size=1)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(QUEUES, WORKERS, st.integers(1, 256))
def test_batches_keep_to_room_budget_and_size_and_leave_nothing_that_fits(
    waiting: dict[str, int], workers: list[tuple[int, dict[str, int]]], most: int
) -> None:
    house = House(waiting)
    for number, (room, remaining) in enumerate(workers):
        house.worker(f"w{number}", room, remaining)
    for _ in range(500):
        demands = house.batch(most)
        assert sum(demand.wanted for demand in demands) <= most
        assert all(demand.wanted > 0 and demand.granted > 0 for demand in demands)
        if not demands:
            break
    assert not house.could_give()
    assert all(count >= 0 for count in house.reply.lengths.values())
    for name, (room, remaining) in zip(house.handed, workers, strict=True):
        assert len(house.handed[name]) <= room
        for letter, left in remaining.items():
            granted = sum(number for endpoint, number in house.handed[name] if endpoint == letter)
            assert left < 0 or granted <= left
            assert house.budgets.of(budget_key("service", name, letter)).outstanding == granted


def test_work_is_spread_over_the_workers_with_room() -> None:
    house = House({"T": 12})
    for name in ("a", "b", "c"):
        house.worker(name, 10, {"T": 100})
    house.batch()
    assert {name: len(jobs) for name, jobs in house.handed.items()} == {"a": 4, "b": 4, "c": 4}


def test_what_one_worker_cannot_pay_for_goes_to_another() -> None:
    house = House({"F": 12})
    house.worker("poor", 10, {"F": 1})
    house.worker("rich", 20, {"F": 100})
    house.batch()
    assert {name: len(jobs) for name, jobs in house.handed.items()} == {"poor": 1, "rich": 11}


def test_every_operation_with_work_and_budget_gets_its_turn() -> None:
    house = House({"T": MANY, "F": MANY, "A": MANY})
    house.worker("w", 6, {"T": MANY, "F": 15, "A": MANY})
    house.batch()
    assert sorted(letter for letter, _ in house.handed["w"]) == ["A", "A", "F", "F", "T", "T"]


def test_an_operation_without_budget_does_not_idle_the_others() -> None:
    house = House({"T": MANY, "F": MANY})
    house.worker("w", 6, {"T": MANY, "F": 0})
    while house.batch():
        pass
    assert [letter for letter, _ in house.handed["w"]] == ["T"] * 6


def test_one_room_is_shared_in_turn_by_the_operations() -> None:
    house = House({"T": MANY, "F": MANY})
    worker = house.worker("w", 1, {"T": MANY, "F": MANY})
    for _ in range(6):
        house.batch()
        house.worker_table.drop(next(iter(worker.tokens)))
    assert sorted(letter for letter, _ in house.handed["w"]) == ["F"] * 3 + ["T"] * 3


def test_a_small_budget_is_shared_by_the_jobs_and_a_large_one_pays_for_retries() -> None:
    for left, granted in ((3, 1), (9, 3), (MANY, GRANT), (-1, GRANT_UNMETERED)):
        house = House({"T": 3})
        house.worker("w", 10, {"T": left})
        house.batch()
        assert house.handed["w"] == [("T", granted)] * 3


def test_jobs_that_came_back_go_out_before_others() -> None:
    house = House({"front:T": 1, "T": 5})
    house.worker("w", 1, {"T": MANY})
    house.batch()
    assert house.reply.lengths == {"front:T": 0, "T": 5}


def test_what_the_ledger_did_not_give_is_not_held_back() -> None:
    house = House({"T": 5})
    house.worker("w", 5, {"T": 20})
    [demand] = house.assigner.demands(0, house.worker_table, house.reply, 256, 256, False)
    assert house.budgets.available(demand.budget, 0) == 0
    house.assigner.leased(demand, 2)
    assert house.budgets.available(demand.budget, 0) == 12


def test_the_next_level_waits_while_targets_are_still_read() -> None:
    house = House({"A1": 5}, levels={0: 0, 1: 5}, levelled=True)
    house.worker("w", 5, {"A": MANY})
    assert house.batch(intake=True) == []
    assert len(house.batch(intake=False)) == 1


def test_a_verdict_brings_what_a_job_needs_to_go_on_and_no_more_than_there_is() -> None:
    house = House({"T": 1})
    house.worker("w", 1, {"T": 6})
    house.batch()
    lease = next(iter(house.worker_table.leases.values()))
    assert (lease.granted, house.assigner.top_up(0, lease)) == (GRANT, 0)
    lease.spent = 3
    house.budgets.settle(lease.budget, 3)
    assert house.assigner.top_up(0, lease) == 3
    lease.granted += 3
    lease.spent = 7
    assert house.assigner.top_up(0, lease) == 2


def test_nobody_with_room_or_nothing_waiting_is_no_batch() -> None:
    house = House({"T": 5})
    assert house.batch() == []
    house.worker("w", 0, {"T": MANY})
    assert house.batch() == []
    idle = House({})
    idle.worker("w", 5, {"T": MANY})
    assert idle.batch() == []
