"""Follows the log of a crawl: live messages become events in order, each once, and a proven position.

No socket, no clock, no store in here. Live and reread events go in; `ready` has events to apply and `position` how far
they are complete; `wanted` is the request for what must be reread.

    heard live ──▶ kept by sequence ──heads prove that nothing is missing──▶ ready
                        │ something is missing, or a new incarnation
                        └──▶ REPLAY after the position ──▶ ready        gone, or another history ──▶ resynchronise

Rules it keeps:
  * The position only moves to where it is proven that no event of the subscribed topics is missing before it: by heads
    of the current reign that start at the position and whose events are all received back to it; or by an answer to
    REPLAY.
  * Events before the position are never delivered again.
  * An unknown incarnation may publish another history: the log is asked first.
  * An incarnation that was succeeded is ignored: a master that was frozen resumes where it stopped.
  * That the wanted events are gone, or that the position belongs to another history, must be reported twice in a row.
    One master may be cut off from the valid ledger; the next request goes to another one.
  * Memory is bounded: events beyond the bound are dropped, and reread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from protocol import messages as wire
from protocol.errors import MalformedError
from protocol.events import HEADS, RECORDS, Heads, Received, heads_of, part_of, record_of
from services.subscriber.consumer import Event, Position

MAX_KEPT = 50_000
"""Events that are not proven complete yet."""
MAX_PAYLOAD = 64 * 1024 * 1024
"""Bytes of pages whose events have not arrived yet."""
MAX_HEADS = 1000
AT_ONCE = 500
"""Entries that are requested, and about as many as are delivered at once."""
SURE = 2
"""How often in a row a master must report that the log cannot be followed any more."""
_PAYLOADS = frozenset(RECORDS.values())


@dataclass(slots=True)
class _Heard:
    """An event that was received live and is not yet proven complete."""

    previous: int
    topic: str
    body: bytes


@dataclass(slots=True)
class _Parts:
    """A page that arrives in parts."""

    parts: int
    data: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class GapRepair:
    """The decisions of one subscriber. `position` is the consumer's stored one, None before the first run."""

    topics: tuple[str, ...]
    position: Position | None
    ready: list[Event] = field(default_factory=list)
    resynchronise: Position | None = None
    """Set when the events before it are unavailable: rebuild everything, store this position, `resynchronised`."""
    behind: bool = True
    """Whether the log must be requested."""
    head: int = 0
    """The highest sequence received."""
    counted: dict[str, int] = field(default_factory=dict)
    only_new: bool = False
    """Whether a subscriber without a position starts at the end of the log, and not at its beginning."""
    _incarnation: str = ""
    _kept: dict[int, _Heard] = field(default_factory=dict)
    _pages: dict[int, _Parts] = field(default_factory=dict)
    _page_bytes: int = 0
    _past: set[str] = field(default_factory=set)
    """Incarnations that were succeeded in the followed history."""
    _doubts: int = 0
    _heads: deque[Heads] = field(default_factory=lambda: deque(maxlen=MAX_HEADS))

    @property
    def sequence(self) -> int:
        """Everything up to there was delivered."""
        return self.position.sequence if self.position is not None else 0

    def wanted(self) -> wire.Replay | None:
        """The request for a master, None when nothing is missing."""
        if not self.behind or self.resynchronise is not None:
            return None
        at = self.position
        if at is None:
            return wire.Replay(list(self.topics), "", "", 0, 0 if self.only_new else AT_ONCE)
        return wire.Replay(list(self.topics), at.ledger, at.incarnation, at.sequence, AT_ONCE)

    # Live events.

    def heard(self, event: Received) -> None:
        """An event of the PUB socket. A malformed one is counted and dropped: it is then missing, and reread."""
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
        """The ledger may have lost its end: unproven events of the previous incarnation are void."""
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
        """Deliver what the received heads prove, one after the other, until enough is ready."""
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
        """Whether every event of the subscribed topics between the position and these heads is received."""
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

    # Reread events.

    def replayed(self, answer: wire.Events) -> None:
        """A master's answer to the request. A late one that does not match the request is dropped."""
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
                # Heads prove events of the reign that is known to be current. One of the two is late: if it is the
                # answer, the next message of the leader shows it.
                self._incarnation = answer.incarnation
                self._forget()
            self.prove()

    def _doubt(self, answer: wire.Events) -> None:
        """A master reports that the log cannot be followed from the position any more."""
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
        """Everything was rebuilt, and its position is stored."""
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
