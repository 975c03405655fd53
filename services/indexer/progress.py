"""The state that the indexer stores with the posts, and the action for each event: decided here, executed elsewhere.

Posts are taken from the pages that arrive with the events. At the end of a job the pages are added up: if they are all
pages of the job, the account is done; if one is missing, or arrived twice, or the job did not end well, the account is
compared with its file, which is authoritative. So it does not matter which events this subscriber missed, or how often
a job was restarted.

| event | action |
|---|---|
| a page that continues the pages read of its job | take its posts, and record the job's progress |
| a page that does not, or did not arrive | take its posts if it arrived, and record that the job is not whole here |
| the end of a job that is whole here, and complete | take the posts of its last page |
| any other end of a job, or a dead letter | compare the account with its file |
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

import orjson

from protocol.errors import MalformedError
from protocol.jobs import Operation, Outcome
from services.indexer.posts import READING
from services.subscriber.consumer import Position

MAX_OPEN: Final = 65_536
"""Jobs that are followed at once; of further ones only the end is handled, by reading their files."""

_BROKEN: Final = -1
_TIMELINES: Final = (Operation.TIMELINE.value, Operation.UPDATE.value)


class IndexAction(Enum):
    """The action for an event."""

    NOTHING = "nothing"
    TAKE = "take the posts that came along"
    COMPARE = "compare the account with its file"


@dataclass(slots=True)
class IndexProgress:
    """The position in the events, and the progress of each job whose pages are in the index.

    `open` has, by operation and account, the number of records taken from the job; below zero when some are missing.
    `reading` is the oldest parser version (`posts.READING`) among the posts of the index.
    """

    position: Position | None = None
    open: dict[str, int] = field(default_factory=dict)
    reading: int = READING

    def packed(self) -> str:
        """The mark that is stored with the posts."""
        position = str(self.position) if self.position else None
        return orjson.dumps({"position": position, "open": self.open, "reading": self.reading}).decode()

    @classmethod
    def unpacked(cls, mark: str | None) -> IndexProgress:
        """The state that `packed` wrote; the initial one when there is none. Raises MalformedError."""
        if mark is None:
            return cls()
        try:
            value = orjson.loads(mark)
            position = Position.parse(value["position"]) if value["position"] else None
            counts = {str(key): int(count) for key, count in value["open"].items()}
            return cls(position, counts, int(value.get("reading", 1)))  # the first version did not store it
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MalformedError(f"the index does not say how far it is: {error}") from error

    def with_all_broken(self) -> IndexProgress:
        """The same, but with pages missing of every open job: at its end each will be read from its file."""
        return replace(self, open=dict.fromkeys(self.open, _BROKEN))

    def at(self, position: Position) -> IndexProgress:
        """A copy at another position, to be advanced from there."""
        return replace(self, position=position, open=dict(self.open))

    def accounts(self) -> set[str]:
        """The accounts with posts in the index that may be in no file yet."""
        return {key[1:] for key in self.open}

    def page(self, operation: str, user: str, records: int, came: int | None) -> IndexAction:
        """A page: `records` is the job's total so far, `came` the number of posts in the payload."""
        if operation not in _TIMELINES:
            return IndexAction.NOTHING
        key = operation + user
        if key not in self.open and len(self.open) >= MAX_OPEN:
            return IndexAction.NOTHING
        whole = came is not None and self.open.get(key, 0) == records - came
        self.open[key] = records if whole else _BROKEN
        return IndexAction.NOTHING if came is None else IndexAction.TAKE

    def done(self, operation: str, user: str, outcome: str, records: int, came: int | None) -> IndexAction:
        """The end of a job, with its last page."""
        if operation not in _TIMELINES:
            return IndexAction.NOTHING
        before = self.open.pop(operation + user, 0)
        if outcome == Outcome.COMPLETE.value and came is not None and before == records - came:
            return IndexAction.TAKE
        return self._compare(user)

    def dead(self, operation: str, user: str) -> IndexAction:
        """A dead letter: its pages are in no file. If it is requeued, its end shows that pages are missing here."""
        if operation not in _TIMELINES:
            return IndexAction.NOTHING
        self.open.pop(operation + user, None)
        return self._compare(user)

    def _compare(self, user: str) -> IndexAction:
        """The pages of another job of the account are in no file yet, and are absent from the index until its end."""
        for operation in _TIMELINES:
            if operation + user in self.open:
                self.open[operation + user] = _BROKEN
        return IndexAction.COMPARE


def step(progress: IndexProgress, topic: str, record: list[Any], came: int | None) -> tuple[IndexAction, str]:
    """The action for an event, and its account.

    Unknown additional fields are ignored. Raises MalformedError when known ones are missing.
    """
    try:
        if topic == "timeline.page":
            user, records, _, _, _, operation, *_ = record
            return progress.page(operation, user, int(records), came), user
        if topic == "job.done":
            operation, user, outcome, records, *_ = record
            return progress.done(operation, user, outcome, int(records), came), user
        if topic == "job.dead":
            operation, user, *_ = record
            return progress.dead(operation, user), user
    except (ValueError, TypeError) as error:
        raise MalformedError(f"a record of {topic} has a form that is not known: {record!r:.200}") from error
    return IndexAction.NOTHING, ""
