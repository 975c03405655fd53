"""A worker in the simulation: the real `Session`, with threads that are events on the virtual clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol import messages as wire
from protocol.jobs import Operation, Outcome, Segment
from worker.session import ContinueJob, ForgetJob, LeaveCrawl, Session, StartJob, StopJob

if TYPE_CHECKING:
    from tests.simulation.cluster import Simulation

OPERATIONS = ["T", "F", "A"]
TIMEOUT_S = 1.0


@dataclass
class Task:
    """What one thread does with one job."""

    job: wire.Assignment
    granted: int
    sent: int = 0
    spent: int = 0
    step: int = 0
    records: int = 0
    cursor: str = ""
    length: int = 0
    fetching: str = ""


class SimulatedWorker:
    """One worker, over all its runs."""

    def __init__(self, cluster: Simulation, name: str, *, masters: int) -> None:
        self.cluster, self.name, self.masters = cluster, name, masters
        self.clock = cluster.chance.random() * 1000
        self.alive = False
        self.peer = b""
        self.runs = 0
        self.keeping: Session | None = None
        self.tasks: dict[str, Task] = {}

    @property
    def now(self) -> float:
        """By its own clock, which is ahead of the cluster's."""
        return self.cluster.now + self.clock

    def start(self) -> None:
        """A new run, with a fresh routing id."""
        self.runs += 1
        self.alive = True
        self.peer = f"{self.name}.{self.runs}".encode()
        self.tasks = {}
        callers = [wire.Caller(operation, f"address:{self.name}", operation) for operation in OPERATIONS]
        self.keeping = Session(self.name, f"run{self.runs}", "sim", OPERATIONS, room=4, callers=callers)
        self.keeping.masters = self.masters
        self._tick(self.runs)

    def kill(self) -> None:
        """kill -9; a supervisor starts it again."""
        if self.alive:
            self.alive = False
            self.cluster.after(0.2 + self.cluster.chance.random() * 2, self.start)

    def receive(self, master: int, message: wire.Message) -> None:
        """A frame from a master."""
        assert self.keeping is not None
        self.keeping.message(self.now, master, message)
        self._act()

    def _tick(self, run: int) -> None:
        if not self.alive or run != self.runs or self.keeping is None:
            return
        self.keeping.tick(self.now)
        self._act()
        self.cluster.after(0.1, lambda: self._tick(run))

    def _act(self) -> None:
        assert self.keeping is not None
        orders, self.keeping.orders = self.keeping.orders, []
        for order in orders:
            match order:
                case StartJob(job):
                    done = sum(length for token, length in job.segments if token == job.token)
                    self.tasks[job.token] = Task(job, job.granted, 0, 0, job.steps, job.records, job.cursor, done)
                    self._begin(self.tasks[job.token])
                case ContinueJob(token, granted):
                    task = self.tasks[token]
                    self._acknowledged(task.job, task.fetching)
                    task.granted = granted
                    self._next(task)
                case StopJob(token):
                    self.tasks.pop(token, None)
                case ForgetJob(job, done):
                    task = self.tasks.pop(job.token)
                    if done:
                        self._acknowledged(job, task.fetching)
                        for token, _ in [*job.segments, [job.token, 0]]:
                            self.cluster.dataset.segments.pop(token, None)
                case LeaveCrawl():
                    self.alive = False
        self.keeping.flush(self.now)
        messages, self.keeping.outbox = self.keeping.outbox, []
        for master, message in messages:
            self.cluster.to_master(self, master, message)

    def _acknowledged(self, job: wire.Assignment, cursor: str) -> None:
        self.cluster.acknowledge(Operation(job.operation), job.user, cursor)

    def _begin(self, task: Task) -> None:
        kept = self.cluster.dataset.segments
        if any(len(kept.get(token, [])) < length for token, length in task.job.segments):
            self._end(task, wire.LOST, "a segment is gone")
        elif task.job.operation == "A" and (Operation.FOLLOWER, task.job.user) not in self.cluster.dataset.files:
            task.fetching = "nothing was fetched"
            self._end(task, wire.DONE, "", step=task.step + 1, outcome=Outcome.NO_LIST.value)
        else:
            self._next(task)

    def _next(self, task: Task) -> None:
        assert self.keeping is not None
        run = self.runs
        if task.sent >= task.granted:
            self._end(task, wire.LIMITED, "")
            return
        operation = Operation(task.job.operation)
        self.cluster.fetched(operation, task.job.user, task.cursor)
        task.sent += 1
        task.fetching = task.cursor
        sent_at = self.now
        answer = self.cluster.service.ask(self.cluster.now, task.job.who, operation, task.job.user, task.cursor)

        def given_up() -> None:
            if not self.alive or run != self.runs or self.keeping is None:
                return
            self.keeping.budgets.unanswered(self.now, task.job.who, operation.value)
            if task.job.token in self.tasks:
                self._next(task)
            self._act()

        def answered() -> None:
            if not self.alive or run != self.runs or self.keeping is None:
                return
            limit = self.cluster.service.limit
            self.keeping.budgets.hear(
                self.now,
                wire.BudgetReport(
                    task.job.who,
                    operation.value,
                    limit,
                    answer.remaining,
                    answer.window,
                    max(1, int((answer.reset_in - latency) * 1000) + 1),
                ),
                sent_at,
            )
            task.spent = task.sent
            self.keeping.spent(task.job.token, task.spent)
            if task.job.token not in self.tasks:
                return
            if answer.refused:
                self._end(task, wire.LIMITED, "")
            elif answer.page is None:
                self._end(task, wire.FAILED, "500")
            else:
                self._stored(task, answer.page, answer.cursor, run)
            self._act()

        latency = 0.01 + self.cluster.chance.random() * 0.1
        self.cluster.after(*((TIMEOUT_S, given_up) if answer.lost else (latency, answered)))

    def _stored(self, task: Task, page: list[str], cursor: str, run: int) -> None:
        """The page is durable; the process may die before it says so."""
        assert self.keeping is not None
        task.step += 1
        task.records += len(page)
        found = page if task.job.operation == "A" else []
        if cursor:
            task.length = self.cluster.dataset.append(task.job.token, task.length, page)
            task.cursor = cursor
            step = wire.Step(task.job.token, task.step, task.records, cursor, task.length, found, task.spent)
            self.keeping.stored(self.now, step)
            return
        segments = [Segment(token, length) for token, length in task.job.segments if token != task.job.token]
        if task.length:
            segments.append(Segment(task.job.token, task.length))
        self.cluster.dataset.merge(Operation(task.job.operation), task.job.user, segments, page)
        end = wire.End(task.job.token, wire.DONE, task.step, task.records, "complete", found, task.spent, "", stored=1)
        self.keeping.ended(self.now, end)

    def _end(self, task: Task, how: str, words: str, *, step: int = 0, outcome: str = "") -> None:
        assert self.keeping is not None
        stored = int(bool(outcome))
        end = wire.End(task.job.token, how, step, task.records, outcome, [], task.spent, words, stored=stored)
        self.keeping.ended(self.now, end)
