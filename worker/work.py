"""One lease, done by one thread: page by page, each durable and committed before the next is requested.

    Start ──▶ segments there? ──▶ page ──▶ append ──▶ Stored ──▶ committed? ──▶ page … ──▶ last page ──▶ merge ──▶ Ended

The last page is never appended: it goes straight into the merge, and the end is the step that reports it. An exception
on the way ends the lease with a message, and never the worker.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from protocol import messages as wire
from protocol.errors import TmaticError
from protocol.jobs import Operation, Outcome, Segment
from protocol.logs import fields
from storage.dataset.interface import Dataset, NoListError, Page, SegmentLostError
from storage.dataset.receipts import ReceiptDraft
from worker.client.allowance import GrantEmptyError, RequestAllowance, StoppedError
from worker.client.errors import UnavailableError
from worker.modules.module import FetchedPage, Module
from worker.sources.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RequestAnswered:
    """A request was answered: `spent` of the lease's were so far, and the source's budgets include it."""

    token: str
    spent: int


Told = RequestAnswered | wire.Step | wire.End
"""What a thread reports to the loop."""


@dataclass(frozen=True, slots=True)
class JobTools:
    """What all jobs of a worker share. `tell` may be called from any thread; `crawl` names the crawl."""

    dataset: Dataset
    source: Source
    modules: Mapping[Operation, Module]
    tell: Callable[[Told], None]
    crawl: Callable[[], str]


class _UntellableError(TmaticError):
    """A page leads to accounts that no message can carry."""


class Work:
    """The work on one lease."""

    def __init__(self, job: wire.Assignment, allowance: RequestAllowance, tools: JobTools) -> None:
        self.job, self.allowance = job, allowance
        self._tools = tools
        self._operation = Operation(job.operation)
        self._began = _now()
        self._step, self._records = job.steps, job.records
        self._before = [Segment(token, length) for token, length in job.segments if token != job.token]
        self._length: int = sum(length for token, length in job.segments if token == job.token)
        self._expected: int | None = None

    def run(self) -> None:
        """Run it to its end, and report that to the loop unless the lease was lost."""
        try:
            self._tools.tell(self._end())
        except StoppedError:
            log.debug("a job was taken back", extra=self._about())
        finally:
            with contextlib.suppress(TmaticError, OSError):
                self._tools.dataset.close(self.job.token)

    def _end(self) -> wire.End:
        """The end of the lease. Raises StoppedError when the lease was lost."""
        try:
            return self._work()
        except GrantEmptyError:
            return self._unfinished(wire.LIMITED, "")
        except SegmentLostError as error:
            log.warning("what was stored of a job is gone; it begins anew", extra=self._about(why=error))
            return self._unfinished(wire.LOST, str(error))
        except StoppedError:
            raise
        except TmaticError as error:
            log.warning("a job failed", extra=self._about(why=error))
            return self._unfinished(wire.FAILED, str(error))
        except BaseException as error:  # also SystemExit: it would end the thread, and the job would hang
            log.exception("a job failed by a mistake in the program", extra=self._about())
            return self._unfinished(wire.FAILED, f"{type(error).__name__}: {error}")

    def _work(self) -> wire.End:
        log.debug("a job begins", extra=self._about())
        job = self.job
        stored = self._stored_before()
        if stored is not None:
            return stored
        segments = [Segment(token, length) for token, length in job.segments]
        self._tools.dataset.require(segments)
        reader = self._tools.source.reader(job.who, self.allowance, self._told)
        last: FetchedPage | None = None
        outcome, why = Outcome.COMPLETE, ""
        try:
            met = self._tools.dataset.cursors(segments)
            for page in self._tools.modules[self._operation].pages(job.user, job.cursor, reader, met):
                self._expected = self._expected if page.expected is None else page.expected
                if not page.cursor:
                    last, outcome, why = page, page.outcome, page.why
                    break
                self._store(page)
            else:
                raise RuntimeError("the module ended without a last page")
        except UnavailableError as error:
            outcome, why = error.outcome, str(error)
        return self._merge(last, outcome, why)

    def _stored_before(self) -> wire.End | None:
        """The end of a job that this crawl has done before, by its receipt: the ledger lost the end of its history, or
        this lease has ended and only its report was lost. None when there is no such receipt.

        No request is sent to the service; updates are always new.
        """
        job, dataset = self.job, self._tools.dataset
        if self._operation is Operation.UPDATE:
            return None
        receipt = dataset.finished(job.user, self._operation, self._tools.crawl())
        if receipt is None or receipt.outcome is Outcome.NO_LIST:
            return None
        try:
            found = _tellable(list(self._tools.modules[self._operation].found_before(job.user)))
        except (NoListError, _UntellableError):
            return None
        log.info("a job is done already, as its receipt says", extra=self._about(outcome=receipt.outcome.value))
        outcome = receipt.outcome.value
        return wire.End(job.token, wire.DONE, job.steps + 1, receipt.received, outcome, found, 0, "", stored=1)

    def _store(self, page: FetchedPage) -> None:
        """Store a page, report it, and wait until it is committed."""
        job, found = self.job, _tellable(page.found)
        stored = Page(page.records, page.cursor)
        self._length = self._tools.dataset.append(job.user, self._operation, job.token, self._length, stored)
        self._step += 1
        self._records += len(page.records)
        spent, payload = self.allowance.spent, self._payload(stored)
        self._tools.tell(
            wire.Step(job.token, self._step, self._records, page.cursor, self._length, found, spent, payload)
        )
        self.allowance.wait_for_commit()

    def _merge(self, last: FetchedPage | None, outcome: Outcome, why: str) -> wire.End:
        """Merge what was fetched into the dataset."""
        job, dataset, found = self.job, self._tools.dataset, _tellable(last.found) if last else []
        segments = [*self._before, Segment(job.token, self._length)] if self._length else self._before
        tokens = (*(segment.token for segment in self._before), job.token)
        draft = ReceiptDraft(self._tools.crawl(), outcome, self._expected, tokens, self._began, _now(), why)
        page = None if last is None else Page(last.records)
        if page is None and not segments:
            dataset.record_outcome(job.user, self._operation, draft)
        else:
            dataset.merge(job.user, self._operation, segments, page, draft)
        log.debug("a job is done", extra=self._about(outcome=outcome.value))
        records = self._records + (len(last.records) if last else 0)
        spent, payload = self.allowance.spent, self._payload(page or Page(()))
        return wire.End(job.token, wire.DONE, self._step + 1, records, outcome.value, found, spent, "", payload, 1)

    def _payload(self, page: Page) -> bytes:
        """The payload for subscribers: the page, unless it is too large to send; they read it from the dataset then."""
        packed = self._tools.dataset.payload(self._operation, page)
        return packed if len(packed) <= wire.MAX_PAYLOAD_BYTES else b""

    def _unfinished(self, how: str, words: str) -> wire.End:
        short = words.encode(errors="replace")[: wire.MAX_WORDS].decode(errors="ignore")
        return wire.End(self.job.token, how, 0, self._records, "", [], self.allowance.spent, short)

    def _told(self, spent: int) -> None:
        self._tools.tell(RequestAnswered(self.job.token, spent))

    def _about(self, **more: object) -> dict[str, object]:
        return fields(operation=self.job.operation, user=self.job.user, token=self.job.token, **more)


def _tellable(found: Sequence[str]) -> list[str]:
    """The accounts that a page leads to, if a message can carry them: the master would reject it otherwise."""
    if len(found) > wire.MAX_FOUND:
        raise _UntellableError(f"a page leads to {len(found):,} accounts, and {wire.MAX_FOUND:,} are the most")
    if not all(map(_is_account, found)):
        raise _UntellableError(f"a page leads to an account of more than {wire.MAX_ACCOUNT} bytes, or to none")
    return list(found)


def _is_account(name: str) -> bool:
    try:
        return 0 < len(name.encode()) <= wire.MAX_ACCOUNT
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
