"""Replays a recording to a carbon: what is to be sent, whether it was sent before, and the progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.errors import UsageError
from services.stats.carbon.connection import Address, CarbonLostError
from services.stats.carbon.delivery import Delivery
from services.stats.carbon.replay_feed import Replaying, Survey, shift_to, survey
from services.stats.carbon.sent import Range, Sent
from services.stats.times import clock_time

PATIENCE_S: Final = 60.0
"""How long carbon may be unavailable before a replay gives up."""
FIRST_PATIENCE_S: Final = 3.0
"""The same before the first connection: then its name or port is probably wrong."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The parameters of a replay. Times are unix times; `ends` is exclusive; `last` is where its end is moved to."""

    path: Path
    carbon: Address
    speed: float
    last: int | None
    begins: int
    ends: int
    again: bool


def replay(asked: ReplayRequest, progress: Callable[[str], None], *, patience_s: float = PATIENCE_S) -> str:
    """Send it; returns one sentence that describes what was sent.

    Raises UsageError when there is nothing to send or it was sent before, CarbonLostError when carbon is unavailable.
    """
    progress("looking through the recording")
    try:
        found = survey(asked.path, asked.begins, asked.ends)
    finally:
        progress("")
    sent = Sent(asked.path, str(asked.carbon))
    before = sent.overlapping(found.begins, found.ends)
    if before and not asked.again:
        raise UsageError(_refusal(asked, found, before))
    shift = shift_to(asked.last, found) if asked.last is not None else 0
    shown_at = 0.0

    def told(place: int, at: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at > 0.2:
            shown_at = time.monotonic()
            progress(f"{clock_time(at)}: {place:,} of {found.points:,} points, {100 * place // found.points} %")

    feed = Replaying(asked.path, found, shift=shift, speed=asked.speed, told=told)
    reached = found.begins

    def settled(place: int) -> None:
        nonlocal reached
        reached = feed.reached(place)
        sent.reach(number, reached)

    number = sent.begin(found.begins, int(time.time()))
    delivery = Delivery(
        feed,
        asked.carbon,
        0,
        settled,
        patience_s=patience_s,
        first_patience_s=min(patience_s, FIRST_PATIENCE_S),
    )
    try:
        delivery.run()
    except CarbonLostError as error:
        rest = f"; --from {clock_time(reached)} sends the rest" if reached > found.begins else ""
        raise CarbonLostError(f"{error}{rest}") from error
    finally:
        progress("")
        sent.close()
    moved = f", moved to {clock_time(found.begins + shift)}" if shift else ""
    left_out = f"; {found.odd.lines:,} lines that are no points were left out" if found.odd.lines else ""
    torn = "; its end is not whole, and was left out" if found.odd.torn else ""
    return (
        f"{found.points:,} points from {clock_time(found.begins)} to {clock_time(found.ends - 1)}{moved} were sent to "
        f"{asked.carbon}{left_out}{torn}"
    )


def _refusal(asked: ReplayRequest, found: Survey, before: list[Range]) -> str:
    """The message about what was sent already, and how to send the rest or everything."""
    said = ", ".join(
        f"{clock_time(max(one.begins, found.begins))} to {clock_time(min(one.ends, found.ends) - 1)} "
        f"(on {clock_time(one.at)})"
        for one in before[:3]
    )
    more = f" and {len(before) - 3} other times" if len(before) > 3 else ""
    last = max(one.ends for one in before)
    rest = f"; --from {clock_time(last)} sends what comes after" if last < found.ends else ""
    return f"{asked.path} was sent to {asked.carbon} already, {said}{more}: --again sends it again{rest}"
