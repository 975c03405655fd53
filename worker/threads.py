"""The threads of a worker: one per job that it has room for, and one that cleans up after them."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from protocol import messages as wire
from protocol.errors import TmaticError
from protocol.jobs import Segment
from protocol.logs import fields
from worker.client.allowance import RequestAllowance
from worker.session import ContinueJob, ForgetJob, StartJob, StopJob
from worker.work import JobTools, Work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Discard:
    segments: list[Segment]


class Threads:
    """Executes the orders that concern jobs. Called by the loop's thread only."""

    def __init__(self, number: int, tools: JobTools, may_ask: Callable[[], bool]) -> None:
        self._tools, self._may_ask = tools, may_ask
        self._works: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._discards: queue.SimpleQueue[_Discard | None] = queue.SimpleQueue()
        self._allowances: dict[str, RequestAllowance] = {}
        self._busy = 0
        self._lock = threading.Lock()
        self._leaving = False
        for place in range(number):
            threading.Thread(target=self._labour, name=f"job-{place}", daemon=True).start()
        self._sweeper = threading.Thread(target=self._sweep, name="sweeper", daemon=True)
        self._sweeper.start()

    @property
    def busy(self) -> int:
        """Jobs that run, or wait for a thread."""
        return self._busy

    def carry_out(self, order: StartJob | ContinueJob | StopJob | ForgetJob) -> None:
        """Execute the session's order about a job."""
        match order:
            case StartJob(job):
                self._start(job)
            case ContinueJob(token, granted):
                if (allowance := self._allowances.get(token)) is not None:
                    allowance.commit(granted)
            case StopJob(token):
                if (allowance := self._allowances.pop(token, None)) is not None:
                    allowance.stop()
            case ForgetJob(job, done):
                self._allowances.pop(job.token, None)
                if done:
                    own = Segment(job.token, 0)
                    self._discards.put(_Discard([*(Segment(token, size) for token, size in job.segments), own]))

    def leave(self) -> None:
        """Let every job finish its current page, and start no other."""
        self._leaving = True
        for allowance in self._allowances.values():
            allowance.leave()

    def stop(self, within_s: float) -> None:
        """Stop every job, and wait at most that long for the clean-up."""
        for allowance in self._allowances.values():
            allowance.stop()
        self._discards.put(None)
        self._sweeper.join(within_s)

    def _start(self, job: wire.Assignment) -> None:
        allowance = self._allowances[job.token] = RequestAllowance(job.granted, self._may_ask)
        if self._leaving:
            allowance.leave()
        with self._lock:
            self._busy += 1
        self._works.put(Work(job, allowance, self._tools))

    def _labour(self) -> None:
        while True:
            work = self._works.get()
            try:
                work.run()
            finally:
                with self._lock:
                    self._busy -= 1

    def _sweep(self) -> None:
        while (discard := self._discards.get()) is not None:
            try:
                self._tools.dataset.discard(discard.segments)
            except TmaticError as error:
                log.warning("segments of a finished job stay behind", extra=fields(why=error))
