"""Following the log of a crawl: what is heard becomes events in their order, each once, and a proven position.

No socket, no clock, no store in here. What is heard live, and what was read again, goes in; `ready` has events to apply
and `position` how far that is complete; `wanted` says what is to be read again.

    heard live ──▶ kept by sequence ──heads prove that nothing is missing──▶ ready
                        │ something is, or a new incarnation speaks
                        └──▶ REPLAY after the position ──▶ ready        gone, or another history ──▶ resynchronise

Rules it keeps:
  * The position is only moved to where it is proven that no event of our topics is missing before it: by heads of the
    reign that we are in, which begin where we are and whose every topic is in hand, back to the position; or by an
    answer to REPLAY.
  * What is behind the position is never given out again.
  * Whoever speaks under an incarnation that we do not know may tell another history than ours: the log is asked first.
  * Whoever speaks under one whose time is over is not listened to: a master that stood still goes on where it stopped.
  * That what we want is gone, or that our history is not the true one, must be said twice in a row. One master may be
    cut off from the ledger that counts; the next question goes to another one.
  * What is kept is bounded: beyond the bound it is forgotten, and read again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from protocol import messages as wire
from protocol.errors import MalformedError
from protocol.events import HEADS, RECORDS, Heads, Received, heads_of, part_of, record_of
from services.subscriber.consumer import Event, Position

MAX_KEPT = 50_000
"""Events that wait for their proof."""
MAX_PAYLOAD = 64 * 1024 * 1024
"""Bytes of pages that wait for their events."""
MAX_HEADS = 1000
AT_ONCE = 500
"""Entries that are asked for, and about as many as are given out at once."""
SURE = 2
"""How often in a row it must be said that the log cannot be followed any more."""
_PAYLOADS = frozenset(RECORDS.values())


@dataclass(slots=True)
class _Heard:
    """An event that was heard live, and waits."""

    previous: int
    topic: str
    body: bytes


@dataclass(slots=True)
class _Parts:
    """A page that comes in parts."""

    parts: int
    data: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class GapRepair:
    """The decisions of one subscriber. `position` is what the consumer has stored, None before its first time."""

    topics: tuple[str, ...]
    position: Position | None
    ready: list[Event] = field(default_factory=list)
    resynchronise: Position | None = None
    """Set when the events before it are not to be had: make everything anew, store this position, `resynchronised`."""
    behind: bool = True
    """Whether the log is to be asked."""
    head: int = 0
    """The last sequence that was heard of."""
    counted: dict[str, int] = field(default_factory=dict)
    only_new: bool = False
    """Whether one without a position begins at the end of the log, and not at its beginning."""
    _incarnation: str = ""
    _kept: dict[int, _Heard] = field(default_factory=dict)
    _pages: dict[int, _Parts] = field(default_factory=dict)
    _page_bytes: int = 0
    _past: set[str] = field(default_factory=set)
    """Incarnations that others came after in the history that we follow."""
    _doubts: int = 0
    _heads: deque[Heads] = field(default_factory=lambda: deque(maxlen=MAX_HEADS))

    @property
    def sequence(self) -> int:
        """Everything up to there was given out."""
        return self.position.sequence if self.position is not None else 0

    def wanted(self) -> wire.Replay | None:
        """What to ask a master for, None when nothing is missing."""
        if not self.behind or self.resynchronise is not None:
            return None
        at = self.position
        if at is None:
            return wire.Replay(list(self.topics), "", "", 0, 0 if self.only_new else AT_ONCE)
        return wire.Replay(list(self.topics), at.ledger, at.incarnation, at.sequence, AT_ONCE)

    # What is heard live.

    def heard(self, event: Received) -> None:
        """An event of the PUB socket. What is malformed is counted and dropped: it is missed then, and read again."""
        if event.incarnation in self._past:
            return
        if event.incarnation != self._incarnation:
            self._new_leader(event.incarnation)
        try:
            if event.topic == HEADS:
                self._told(heads_of(event))
            elif event.topic in _PAYLOADS:
                self._part(event)
            elif event.sequence > self.sequence and event.topic.startswith(self.topics):
                self._keep(event)
        except MalformedError:
            self.counted["malformed"] = self.counted.get("malformed", 0) + 1

    def _new_leader(self, incarnation: str) -> None:
        """It may tell of a ledger that lost its end: what the one before said and we could not prove yet is void."""
        self._incarnation, self.behind = incarnation, True
        self._forget()

    def _keep(self, event: Received) -> None:
        if len(self._kept) >= MAX_KEPT:
            self._forget()
            self.behind = True
        self._kept[event.sequence] = _Heard(event.previous, event.topic, event.body)

    def _part(self, event: Received) -> None:
        part = part_of(event)
        if part.number <= self.sequence:
            return
        if self._page_bytes > MAX_PAYLOAD:
            self._pages.clear()
            self._page_bytes = 0
        page = self._pages.setdefault(part.number, _Parts(part.parts))
        if part.part not in page.data:
            page.data[part.part] = part.data
            self._page_bytes += len(part.data)

    def _told(self, told: Heads) -> None:
        self.head = max(self.head, told.sequence)
        self._heads.append(told)
        self.prove()

    def prove(self) -> None:
        """Give out what the heads that were heard prove, one after the other, until enough is ready."""
        while self._heads and not self.behind and len(self.ready) < AT_ONCE:
            told = self._heads.popleft()
            if told.sequence <= self.sequence:
                continue
            if told.before > self.sequence or not self._whole(told):
                self._heads.appendleft(told)
                self.behind = True
                self.counted["gaps"] = self.counted.get("gaps", 0) + 1
                return
            self._give_out(told.sequence)

    def _whole(self, told: Heads) -> bool:
        """Whether every event of our topics between the position and these heads is in hand."""
        for topic, last in told.last.items():
            if topic.startswith(self.topics):
                while last > self.sequence:
                    heard = self._kept.get(last)
                    if heard is None or heard.topic != topic or heard.previous >= last:
                        return False
                    last = heard.previous
        return True

    def _give_out(self, sequence: int) -> None:
        position = self.position
        assert position is not None, "heads prove nothing to one who has no position"
        for one in sorted(number for number in self._kept if number <= sequence):
            heard = self._kept.pop(one)
            if one > position.sequence:
                self.ready.append(Event(one, heard.topic, record_of(heard.body), self._payload(one)))
        self._move(Position(position.ledger, self._incarnation, sequence))

    def _payload(self, sequence: int) -> bytes | None:
        page = self._pages.get(sequence)
        if page is None or len(page.data) != page.parts:
            return None
        return b"".join(page.data[part] for part in range(page.parts))

    def _move(self, position: Position) -> None:
        before = self.position
        if before is not None and before.incarnation not in ("", position.incarnation):
            self._past.add(before.incarnation)
        self.position = position
        for number in [number for number in self._kept if number <= position.sequence]:
            del self._kept[number]
        for number in [number for number in self._pages if number <= position.sequence]:
            self._page_bytes -= sum(map(len, self._pages.pop(number).data.values()))

    # What is read again.

    def replayed(self, answer: wire.Events) -> None:
        """A master's answer to what was wanted. One that does not fit the question, since it came late, is dropped."""
        if not self.behind or self.resynchronise is not None:
            return
        if answer.how != wire.KEPT:
            self._doubt(answer)
            return
        self.head = max(self.head, answer.head)
        before = self.position
        if before is not None and (answer.covered < before.sequence or before.ledger not in ("", answer.ledger)):
            return
        try:
            fresh = [(entry, record_of(entry.body)) for entry in answer.entries if entry.sequence > self.sequence]
        except MalformedError:
            self.counted["malformed"] = self.counted.get("malformed", 0) + 1
            return
        for entry, record in fresh:
            self.ready.append(Event(entry.sequence, entry.topic, record, self._payload(entry.sequence)))
        self._doubts = 0
        self._move(Position(answer.ledger, answer.incarnation, answer.covered))
        self.behind = answer.covered < answer.head
        if not self.behind:
            if answer.incarnation != self._incarnation:
                # Heads prove what comes in the reign that we are known to be in. Of the two one is late: if it is the
                # answer, the next thing that the leader says shows it.
                self._incarnation = answer.incarnation
                self._forget()
            self.prove()

    def _doubt(self, answer: wire.Events) -> None:
        """A master says that the log cannot be followed any more from where we are."""
        at = self.position
        if at is not None and answer.ledger == at.ledger:
            late = answer.incarnation == at.incarnation and answer.covered < at.sequence
            if late or answer.incarnation in self._past:
                return
        self._doubts += 1
        if self._doubts >= SURE:
            self.counted["resynchronised"] = self.counted.get("resynchronised", 0) + 1
            self.head = answer.head
            self.resynchronise = Position(answer.ledger, answer.incarnation, answer.covered)

    def resynchronised(self) -> None:
        """Everything was made anew, and the position to which that belongs is stored."""
        assert self.resynchronise is not None
        self._forget()
        self._past.clear()
        self._doubts = 0
        self.position, self.resynchronise, self.behind = self.resynchronise, None, True

    def _forget(self) -> None:
        self._kept.clear()
        self._pages.clear()
        self._heads.clear()
        self._page_bytes = 0
