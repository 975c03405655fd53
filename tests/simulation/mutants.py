"""Faults planted on purpose. A simulation that does not notice one of them proves nothing."""

from __future__ import annotations

from collections import deque
from typing import Any

from master.dispatch.dispatcher import Dispatch
from master.leadership.election import Act, Role
from master.leadership.ledger_calls import Leadership, Question, Take
from master.member import Member
from protocol import messages as wire
from storage.ledger.ledger import Reply
from storage.ledger.transitions import AddJobs, Discoveries, Finish, NewJob, StorePage, Transition


class AnswersBeforeCommit(Dispatch):
    """Tells the worker that its page is safe before the ledger has it."""

    def next_batch(self, now: float) -> list[Transition] | None:
        batch = super().next_batch(now)
        for pending in self._flying[-1] if batch is not None else ():
            said = pending.transition
            if isinstance(said, StorePage | Finish) and pending.peer is not None and pending.lease is not None:
                verdict = wire.Verdict(said.token, said.step, wire.ACCEPTED, pending.lease.granted)
                self.outbox.append((pending.peer, wire.Committed(self.lead.epoch, [verdict])))
        return batch


class DiscoveriesAfterResult(Dispatch):
    """Commits the result, and what it led to in a commit of its own later, as the first twittomatic did."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._later = deque[list[Transition]]()

    def next_batch(self, now: float) -> list[Transition] | None:
        batch = super().next_batch(now)
        if batch is None:
            return None
        later: list[Transition] = []
        for pending in self._flying[-1]:
            said = pending.transition
            if isinstance(said, StorePage | Finish) and pending.lease is not None:
                if said.found is not None:
                    later.append(self._as_intake(said.found))
                pending.transition = said._replace(found=None)
        self._later.append(later)
        return [pending.transition for pending in self._flying[-1]]

    def committed(self, now: float, reply: Reply) -> None:
        super().committed(now, reply)
        kept = self.intake
        later = self._later.popleft()
        self.intake = iter([*later, *(kept or [])]) if later or kept is not None else None

    def _as_intake(self, found: Discoveries) -> Transition:
        pairs = zip(found.accounts, found.records, strict=True)
        jobs = [NewJob(account, found.queue, record, found.level) for account, record in pairs]
        return AddJobs("seen", found.front, jobs)


def without_token_check(script: str) -> str:
    """A lease that is over is taken for one that is not."""
    remembering = script.replace(
        "local function put(token, lease) held[token]",
        "local function ghost(token)\n"
        "  local packed = call('HGET', P .. 'ghosts', token)\n"
        "  return packed and cmsgpack.unpack(packed)\n"
        "end\n"
        "local function put(token, lease) call('HSET', P .. 'ghosts', token, cmsgpack.pack(lease)); held[token]",
    )
    return _replaced(remembering, "local lease = held[token]", "local lease = held[token] or ghost(token)")


def without_incarnation_check(script: str) -> str:
    """Whoever writes is taken for the leader."""
    script = _replaced(script, "if lead[1] ~= incarnation then", "if false then")
    return _replaced(script, "if lead[2] ~= whole(beat) then", "if false then")


def without_seen_check(script: str) -> str:
    """An account that was found twice is crawled twice."""
    return _replaced(
        script, "if call('SADD', bucket(f, id), id) == 0 then return false end", "call('SADD', bucket(f, id), id)"
    )


def counting_twice(script: str) -> str:
    """Absolute counts are added as if they were differences."""
    return _replaced(script, "records - before", "records")


def _replaced(script: str, old: str, new: str) -> str:
    assert old in script, f"the script has changed: {old!r} is not in it any more"
    return script.replace(old, new)


def without_a_higher_epoch(script: str) -> str:
    """Who takes the lead takes it in the epoch that there was."""
    return _replaced(script, "math.max(tonumber(now[3] or '0'), witness) + 1", "math.max(tonumber(now[3] or '0'), 1)")


def with_the_beat_renewed(script: str) -> str:
    """A write that is refused renews the beat all the same."""
    return _replaced(
        script,
        "if lead[1] ~= incarnation then return",
        "if lead[1] ~= incarnation then call('HINCRBY', LEAD, 'beat', 1); return",
    )


class StandbyDispatches(Member):
    """A master that sees the beat stand still leads at once, and asks the ledger afterwards."""

    def _next(self, now: float) -> Question | None:
        question = super()._next(now)
        if isinstance(question, Take) and self.leadership_before is not None:
            before, lead = self.leadership_before, self.leadership_before.lead
            self.leadership = Leadership(
                type(lead)(question.incarnation, 1, lead.epoch + 1, lead.ledger_id, lead.name),
                before.plan,
                before.snapshot,
                1,
            )
            self.election.role = Role.LEADING
            self.dispatch = self.lead(now, self.leadership)
            self.dispatch.expect(now, self.standby.expected())
            return None
        return question

    leadership_before: Leadership | None = None

    def _do(self, now: float, act: Act) -> None:
        if act is Act.STEP_DOWN:
            self.leadership_before = self.leadership
        super()._do(now, act)


class GrantsForgotten(Dispatch):
    """A new leader takes what was granted before it for never granted."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for budget in self.budgets.by_key.values():
            budget.outstanding = 0

    def _spent(self, lease: Any, spent: int) -> None:
        lease.spent = max(lease.spent, min(spent, lease.granted))
        self.budgets.of(lease.budget).outstanding = max(0, self.budgets.of(lease.budget).outstanding - spent)


class DoubtsForgotten(Dispatch):
    """A request without an answer is taken for one that was never sent."""

    def receive(self, now: float, peer: bytes, message: wire.Message) -> None:
        super().receive(now, peer, message)
        for budget in self.budgets.by_key.values():
            budget.doubts.clear()


SCRIPT_MUTANTS = {
    "token not checked": without_token_check,
    "incarnation not checked": without_incarnation_check,
    "seen not checked": without_seen_check,
    "counts added twice": counting_twice,
}
PAIR_SCRIPT_MUTANTS = {
    "no fence in the script": without_incarnation_check,
    "stale result accepted": without_token_check,
    "epoch not raised": without_a_higher_epoch,
    "beat renewed by the fenced one": with_the_beat_renewed,
}
PAIR_MEMBER_MUTANTS: dict[str, type[Member]] = {"standby dispatches": StandbyDispatches}
PAIR_DISPATCH_MUTANTS: dict[str, type[Dispatch]] = {"grants forgotten": GrantsForgotten}
GENTLE_MUTANTS: dict[str, type[Dispatch]] = {"doubts forgotten": DoubtsForgotten}
"""Caught where nobody dies: only there not one request may be refused."""
DISPATCH_MUTANTS: dict[str, type[Dispatch]] = {
    "answer before commit": AnswersBeforeCommit,
    "discoveries committed after the result": DiscoveriesAfterResult,
}
