"""Requests with retries: what each try costs, when to retry, when to give up.

| the try ends with | then |
|---|---|
| a valid response | done |
| no response, 5xx, a truncated body, no JSON | retry with a short, growing back-off; at most `max_attempts` in all |
| 5xx with Retry-After | the job is returned, and the budget rests that long; the try counts |
| 429 | the job is returned: the budget rests until the later of its reset and Retry-After, else `toomany_sleep_s` |
| another refusal | the source interprets it |

A response with a missing or impossible remaining count leaves its request in doubt, like no response: the service may
count it all the same. Only where a successful response reports no limit, and none ever did, the service is treated as
unlimited.

Every try takes one request of the grant. A lease that runs out of them is returned, and the count of tries continues
with its next lease.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from protocol.backoff import doubled, spread
from protocol.errors import TmaticError
from protocol.jobs import Outcome
from protocol.logs import fields
from protocol.messages import BudgetReport
from protocol.rate_window import MAX_WINDOW_MS
from worker.client.allowance import GrantEmptyError, RequestAllowance
from worker.client.attempt_counter import AttemptCounter
from worker.client.errors import UnavailableError
from worker.client.heard_budgets import NOTHING_SAID, HeardBudgets
from worker.client.http import Call, HttpAnswer, HttpClient, NoAnswerError
from worker.client.retry_after import retry_after_s

T = TypeVar("T")

log = logging.getLogger(__name__)

FIRST_REST_S = 0.1
MAX_REST_S = 2.0
TOO_MANY = 429
LIMIT_WORDS = re.compile("rate-?limit", re.IGNORECASE)
"""A part of the names of rate-limit headers, in all their variants."""


class TroubleError(Exception):
    """The response is unusable, but a retry may succeed; the message says why."""


class ServiceError(TmaticError):
    """The service refuses, or returns an invalid response; the job's try has failed."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retry policy. The time-out of the n-th try is `timeout_factor_s` to the power of n."""

    max_attempts: int
    timeout_factor_s: float
    toomany_sleep_s: float


@dataclass(slots=True)
class ClientContext:
    """What all leases of a worker share for their requests."""

    http: HttpClient
    retry_policy: RetryPolicy
    budgets: HeardBudgets = field(default_factory=HeardBudgets)
    patience: AttemptCounter = field(default_factory=AttemptCounter)
    proven: bool = False
    """Whether this service ever answered successfully."""
    told: set[str] = field(default_factory=set)
    """Endpoints whose first trouble was reported, or that answered successfully."""


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """The budget in a response, as the service wrote it; `date` is the service's time of the response."""

    limit: int
    remaining: int
    reset: int
    date: float

    def report(self, who: str, endpoint: str) -> BudgetReport | None:
        """The report of it, None if no window can end then. The time until the reset is an upper bound: dates are
        whole seconds."""
        reset_in_ms = int((self.reset - self.date) * 1000)
        if not 0 < reset_in_ms <= MAX_WINDOW_MS:
            return None
        remaining = min(max(0, self.remaining), self.limit)
        return BudgetReport(who, endpoint, self.limit, remaining, self.reset, reset_in_ms)


class RetryingClient:
    """One lease's client of the service. `told(spent)` is called after every answered request, once the budgets know.

    `said` reads the budget from a response, None without one; `address()` is the next request's local address.
    """

    def __init__(
        self,
        client_context: ClientContext,
        allowance: RequestAllowance,
        who: str,
        address: Callable[[], str],
        said: Callable[[HttpAnswer], RateLimitHeaders | None],
        told: Callable[[int], None],
    ) -> None:
        self._client_context, self._allowance, self._who = client_context, allowance, who
        self._address, self._said, self._told = address, said, told

    def ask(self, call: Call, read: Callable[[HttpAnswer], T]) -> T:
        """The result of `read` on the response; it raises TroubleError for one that is worth a retry.

        Raises GrantEmptyError when no request may be sent now, StoppedError when the lease is lost, ServiceError when
        all tries failed, and whatever `read` raises.
        """
        phone, retry_policy, patience = (
            self._client_context,
            self._client_context.retry_policy,
            self._client_context.patience,
        )
        name = call.name
        while True:
            number = patience.times(name) + 1
            if phone.budgets.exhausted(time.monotonic(), self._who, call.endpoint):
                raise GrantEmptyError
            self._allowance.spend()
            sent_at = time.monotonic()
            try:
                answer = phone.http.send(call, self._address(), retry_policy.timeout_factor_s**number)
            except NoAnswerError as error:
                if error.sent:
                    self._unanswered(call)
                words = str(error)
            except TmaticError:
                self._unanswered(call)
                raise
            else:
                away_s = self._answered(call, answer, sent_at)
                if answer.status == TOO_MANY:
                    raise GrantEmptyError
                try:
                    value = read(answer)
                except TroubleError as trouble:
                    words = str(trouble) + (f", and asks to be left alone for {away_s:g} s" if away_s else "")
                except UnavailableError as gone:
                    if gone.outcome is not Outcome.DELETED or phone.proven:
                        raise
                    # A wrong path looks the same: no account is given up before the service ever succeeded.
                    raise ServiceError(f"{gone}; this service has given nothing yet: check --base-url") from gone
                else:
                    phone.proven = True
                    phone.told.add(call.endpoint)
                    patience.over(name)
                    return value
            self._tell(call, words)
            if patience.again(name) >= retry_policy.max_attempts:
                patience.over(name)
                raise ServiceError(f"{call.endpoint}: {words}; asked {number} times")
            if phone.budgets.exhausted(time.monotonic(), self._who, call.endpoint):
                raise GrantEmptyError  # the next turn of the loop may not send: the job is returned instead of waiting
            self._allowance.pause(rest_s(number))

    def _tell(self, call: Call, words: str) -> None:
        """Report the first trouble with an endpoint at once: a minute may pass before its job has failed."""
        if call.endpoint not in self._client_context.told:
            self._client_context.told.add(call.endpoint)
            log.warning(f"{call.endpoint}: {words}; it is asked again", extra=fields(url=call.url))

    def _unanswered(self, call: Call) -> None:
        self._client_context.budgets.unanswered(time.monotonic(), self._who, call.endpoint)

    def _answered(self, call: Call, answer: HttpAnswer, sent_at: float) -> float:
        """Record the limits in a response; returns its Retry-After in seconds."""
        budgets, now = self._client_context.budgets, time.monotonic()
        report = self._budget(call, answer)
        refuses = answer.status == TOO_MANY or answer.status >= 500
        away_s = retry_after_s(answer.headers, answer.at) if refuses else 0.0
        if answer.status == TOO_MANY:
            rest_s = max(report.reset_in_ms / 1000 if report else 0.0, away_s)
            budgets.refused(now, self._who, call.endpoint, rest_s or self._client_context.retry_policy.toomany_sleep_s)
        elif away_s:
            budgets.leave_alone(now, self._who, call.endpoint, away_s)
        if report is None and answer.status != TOO_MANY:
            budgets.unanswered(now, self._who, call.endpoint)
            if any(value.startswith("-") for value in _words_of_limits(answer)):  # a negative remainder
                budgets.refused(now, self._who, call.endpoint, self._client_context.retry_policy.toomany_sleep_s)
            return away_s
        if report is not None:
            budgets.hear(now, report, sent_at)
        self._allowance.answered()
        self._told(self._allowance.spent)
        return away_s

    def _budget(self, call: Call, answer: HttpAnswer) -> BudgetReport | None:
        """The budget in a response, None when it is unusable."""
        said = self._said(answer)
        if said is not None:
            report = said.report(self._who, call.endpoint)
            return report._replace(remaining=0) if report and answer.status == TOO_MANY else report
        counts = self._client_context.budgets.counts(self._who, call.endpoint)
        # A refusal without limits, or with unreadable ones, does not mean that there are none; nor does
        # the page of a proxy.
        if counts or answer.status >= 500 or answer.status == TOO_MANY or _words_of_limits(answer):
            return None
        if counts is None and not 200 <= answer.status < 300:
            return None
        return BudgetReport(self._who, call.endpoint, NOTHING_SAID, 0, 0, 0)


def _words_of_limits(answer: HttpAnswer) -> list[str]:
    return [value for name, value in answer.headers.items() if LIMIT_WORDS.search(name)]


def rest_s(number: int) -> float:
    """The back-off after the n-th failed try, in seconds; bounded, so that a job is not held for nothing."""
    # A delay that may exceed the maximum by half is spread, so that a late one is always the maximum.
    return min(MAX_REST_S, spread(doubled(FIRST_REST_S, number, 2 * MAX_REST_S), random.random()))
