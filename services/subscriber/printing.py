"""Events printed as they come: for people a line each, for programs a JSON object each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from services.subscriber.consumer import Event, Position

NAMES: Final = {
    "timeline.page": ("user", "records", "cursor", "token", "length", "operation"),
    "followers.page": ("user", "records", "cursor", "token", "length", "operation"),
    "user.page": ("user", "records", "cursor", "token", "length", "operation"),
    "job.done": ("operation", "user", "outcome", "records", "depth", "parent", "worker", "token"),
    "job.failed": ("operation", "user", "tries", "words", "worker"),
    "job.dead": ("operation", "user", "tries", "words", "worker"),
    "job.requeued": ("operation", "user"),
    "job.dropped": ("operation", "user"),
    "master.leads": ("name", "epoch", "why"),
    "master.repaired": ("why", "included"),
}
"""What the fields of each record are called."""


def named(event: Event) -> dict[str, Any]:
    """The record of an event, by name."""
    names = NAMES.get(event.topic, ())
    return dict(zip(names, event.record, strict=False))


class Printing:
    """A consumer that prints. It stores nothing: it begins where the log is when it comes, or at a sequence."""

    name = ""

    def __init__(self, topics: tuple[str, ...], start: Position | None, *, in_json: bool) -> None:
        self.topics, self._start, self._json = topics, start, in_json

    def position(self) -> Position | None:
        """Where it begins."""
        return self._start

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Print them."""
        _print(map(self._line, events))

    def resynchronise(self, position: Position) -> None:
        """What is gone is gone; the next line tells so."""
        _print([f"# events before {position.sequence} are not kept any more"])

    def hear(self, topic: str, body: Any) -> None:
        """Gauges and lines of the log."""
        if self._json:
            line = json.dumps({"topic": topic, "body": body})
        elif topic.startswith("log."):
            about = "  ".join(f"{name} {_plain(value)}" for name, value in body["fields"].items())
            line = f"{'':>9}  {topic:<14}  {_plain(body['level'])}  {_plain(body['message'])}  {about}"
        else:
            line = f"{'':>9}  {topic:<14}  {len(body)} values"
        _print([line])

    def _line(self, event: Event) -> str:
        if self._json:
            told = {"sequence": event.sequence, "topic": event.topic, **named(event)}
            return json.dumps({**told, "payload_bytes": len(event.payload or b"")})
        said = "  ".join(f"{name} {_plain(value)}" for name, value in named(event).items() if value != "")
        return f"{event.sequence:>9}  {event.topic:<14}  {said}"


def _print(lines: Iterable[str]) -> None:
    """Print these lines now. Raises what the command line knows: OutputError when they cannot be kept, BrokenPipeError
    when who read them went away."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> str:
    """A value that cannot play tricks on a terminal."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()
