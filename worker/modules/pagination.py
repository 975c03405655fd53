"""Pagination along the service's cursors, which sometimes repeat or do not advance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from protocol.jobs import Outcome
from worker.client.attempt_counter import AttemptCounter
from worker.modules.module import FetchedPage
from worker.sources.source import SourcePage

RETRIES = 3
"""How often a page whose cursor leads nowhere is requested again."""


def walk(
    name: str,
    start: str,
    ask: Callable[[str], SourcePage],
    patience: AttemptCounter,
    written: Callable[[str], str] = str,
    met: Iterable[str] = (),
) -> Iterator[FetchedPage]:
    """The pages from `start` on. `name` identifies this walk; `written` converts the service's cursor to the job's.

    A cursor that was met before, on this walk or under an earlier lease (`met`), leads nowhere: the same page is
    requested again, and if the cursor stays the same the walk ends with what was fetched.
    """
    met = {start, *met}
    cursor = start
    while True:
        got = ask(cursor)
        place = f"{name} {cursor}"
        while got.next and got.next in met:
            if patience.again(place) > RETRIES:
                patience.over(place)
                why = f"the cursor {got.next} came back {RETRIES + 1} times and leads nowhere"
                yield FetchedPage(got.records, "", (), got.expected, Outcome.CURSOR_STUCK, why)
                return
            got = ask(cursor)
        patience.over(place)
        page = FetchedPage(got.records, "", (), got.expected)
        if not got.next:
            yield page
            return
        yield replace(page, cursor=written(got.next))
        cursor = got.next
        met.add(cursor)
