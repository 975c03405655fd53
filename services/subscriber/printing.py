"""Prints events as they arrive: a line each for people, a JSON object each for programs."""

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
"""The names of the fields of each record."""


def named(event: Event) -> dict[str, Any]:
    """The record of an event, by name."""
    names = NAMES.get(event.topic, ())
    return dict(zip(names, event.record, strict=False))


class Printing:
    """A consumer that prints. It stores nothing: it starts at the current end of the log, or at a sequence."""

    name = ""

    def __init__(self, topics: tuple[str, ...], start: Position | None, *, in_json: bool) -> None:
        self.topics, self._start, self._json = topics, start, in_json

    def position(self) -> Position | None:
        """Where it starts."""
        return self._start

    def apply(self, events: Sequence[Event], position: Position) -> None:
        """Print them."""
        _print(map(self._line, events))

    def resynchronise(self, position: Position) -> None:
        """Nothing to rebuild; the next line reports the gap."""
        _print([f"# events before {position.sequence} are not kept any more"])

    def hear(self, topic: str, body: Any) -> None:
        """Gauges and log lines."""
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
    """Print these lines now. Raises what the command line handles: OutputError when they cannot be written,
    BrokenPipeError when their reader is gone."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> str:
    """A value without terminal control characters."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()
