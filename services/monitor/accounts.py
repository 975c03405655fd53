"""An account in full, from the dataset: its profile, its posts, its followers, its receipts, and how it was found.

The dataset is only read. Pages are counted from the beginning of a file, so the last ones require reading the whole
file; therefore the offset of a page is limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from protocol.errors import MalformedError, UsageError
from protocol.jobs import Operation
from services.monitor.lines import shown
from services.monitor.master import MAX_ACCOUNT_LENGTH
from services.monitor.reading import mapping, text
from services.monitor.store import MonitorStore
from storage import schema
from storage.dataset.interface import Dataset, RecordKind, record_id
from storage.dataset.receipts import receipt_json

_AUTHOR: Final = schema.AUTHOR[0]
_NAME: Final = schema.AUTHOR_NAME[0]
"""The page shows profiles in Twitter's v1.1 form."""
MAX_ROWS: Final = 200
"""Posts or followers of one page."""
LAST_ROW: Final = 5_000_000
MAX_LED_TO: Final = 50
SHOWN: Final = frozenset(
    [
        "outcome",
        "expected",
        "received",
        "total",
        "pages",
        "started",
        "finished",
        "file",
        "bytes",
        "sha256",
        "why",
        "generation",
        "crawl",
    ]
)


class Accounts:
    """The accounts of a dataset. Its methods block while they read."""

    def __init__(self, dataset: Dataset, store: MonitorStore) -> None:
        self._dataset = dataset
        self._store = store

    def card(self, user: str) -> dict[str, Any] | None:
        """Everything about an account but its rows; None when it is unknown. Raises DatasetError, UsageError."""
        _check(user)
        path = self._store.path(user)
        receipts = {}
        for operation in Operation:
            receipt = self._dataset.receipt(user, operation)
            if receipt is not None:
                whole = receipt_json(receipt)
                receipts[operation.value] = {key: whole[key] for key in sorted(SHOWN)} | {
                    "cursors": receipt.cursors.count
                }
        led_to, count = self._store.led_to(user, MAX_LED_TO)
        kinds = [kind for kind in RecordKind if self._dataset.has(user, kind)]
        profile = self._profile(user, path[-2].user if len(path) > 1 else "")
        if not receipts and not kinds and path[-1].depth is None and profile is None:
            return None
        return {
            "user": user,
            "profile": profile,
            "receipts": receipts,
            "kinds": [kind.name.lower() for kind in kinds],
            "path": [{"user": step.user, "depth": step.depth, "name": self._name(step.user)} for step in path],
            "led_to": led_to,
            "led_to_count": count,
        }

    def timeline(self, user: str, first: int, count: int) -> dict[str, Any]:
        """{"rows": posts from the `first`-th newest on, "more": whether there are more}."""
        lines, more = self._page(user, RecordKind.TIMELINE, first, count)
        return {"rows": [shown(line) for line in lines], "more": more}

    def followers(self, user: str, first: int, count: int) -> dict[str, Any]:
        """{"rows": ids of followers from the `first`-th on, "more": whether there are more}."""
        lines, more = self._page(user, RecordKind.FOLLOWERS, first, count)
        return {"rows": [line.decode("utf-8", "replace") for line in lines], "more": more}

    def post(self, user: str, identifier: str) -> bytes | None:
        """The line of a post, None when it is not in the account's timeline."""
        _check(user)
        for line in self._dataset.lines(user, RecordKind.TIMELINE):
            if identifier.encode() in line and _is(RecordKind.TIMELINE, line, identifier):
                return line
        return None

    def _page(self, user: str, kind: RecordKind, first: int, count: int) -> tuple[list[bytes], bool]:
        _check(user)
        if not (0 <= first <= LAST_ROW and 0 < count <= MAX_ROWS):
            raise UsageError(f"at most {MAX_ROWS} rows a page, and none beyond the {LAST_ROW:,}th")
        found = list(islice(self._dataset.lines(user, kind), first, first + count + 1))
        return found[:count], len(found) > count

    def _profile(self, user: str, parent: str) -> dict[str, Any] | None:
        """The profile from the newest post, or from its parent's analysis."""
        for line in self._lines(user, RecordKind.TIMELINE, 1):
            carried = mapping(shown(line), _AUTHOR)
            if text(carried, _NAME):
                return dict(carried)
        if parent:
            wanted = user.encode()
            for line in self._dataset.lines(parent, RecordKind.PROFILES):
                if wanted in line and _is(RecordKind.PROFILES, line, user):
                    return shown(line)
        return None

    def _name(self, user: str) -> str:
        for line in self._lines(user, RecordKind.TIMELINE, 1):
            return text(mapping(shown(line), _AUTHOR), _NAME)
        return ""

    def _lines(self, user: str, kind: RecordKind, count: int) -> Iterator[bytes]:
        return islice(self._dataset.lines(user, kind), count)


def _check(user: str) -> None:
    if not 0 < len(user.encode("utf-8", "replace")) <= MAX_ACCOUNT_LENGTH or not user.isprintable():
        raise UsageError(f"an account is 1 to {MAX_ACCOUNT_LENGTH} bytes of text")


def _is(kind: RecordKind, line: bytes, identifier: str) -> bool:
    try:
        return record_id(kind, line) == identifier
    except MalformedError:
        return False  # a damaged line does not match; `tmatic-data verify` reports it
