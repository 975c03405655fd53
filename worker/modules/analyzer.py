"""Analysis: the profiles of all followers on the stored list, and which of them are crawled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from protocol.errors import MalformedError
from protocol.jobs import Outcome
from protocol.numbers import MAX_INT64, whole_number
from storage.dataset.interface import Dataset, NoListError, RecordKind, record_id
from worker.client.errors import UnavailableError
from worker.modules.module import FetchedPage
from worker.sources.json_records import parse
from worker.sources.source import SourceReader

Rule = Callable[[dict[str, Any]], bool]


class Analyzer:
    """`A`. Its cursor is a position in the stored list; a page has as many accounts as one lookup returns."""

    def __init__(self, dataset: Dataset, rule: Rule, at_once: int) -> None:
        self._dataset, self._rule, self._at_once = dataset, rule, at_once

    def pages(self, user: str, cursor: str, reader: SourceReader, met: Iterable[str] = ()) -> Iterator[FetchedPage]:
        """Pages of profiles, in the order of the list."""
        place = whole_number(cursor or "0", MAX_INT64)
        if place is None:
            raise MalformedError(f"the cursor {cursor[:40]!r} is not a place in a list")
        try:
            followers = islice(self._dataset.followers(user), place, None)
        except NoListError as error:
            raise UnavailableError(Outcome.NO_LIST, str(error)) from error
        asked = list(islice(followers, self._at_once))
        while True:
            profiles = reader.profiles(asked) if asked else []
            found = tuple(profile.record.id for profile in profiles if self._rule(profile.fields))
            records = tuple(profile.record for profile in profiles)
            place += len(asked)
            asked = list(islice(followers, self._at_once))
            if not asked:
                yield FetchedPage(records, "", found, place)
                return
            yield FetchedPage(records, str(place), found)

    def found_before(self, user: str) -> Iterator[str]:
        """The stored profiles that the rule selects, of accounts on the stored list."""
        listed = set(self._dataset.followers(user))
        for line in self._dataset.lines(user, RecordKind.PROFILES):
            account = record_id(RecordKind.PROFILES, line)
            if account in listed and self._rule(parse(line)):
                yield account
