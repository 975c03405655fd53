"""What rides along with an event is taken apart within a size."""

from __future__ import annotations

import pytest

from protocol.errors import MalformedError
from services.subscriber.payloads import lines_of
from tests.services.lookup.making import payload


def test_payloads_are_members_in_a_row_and_within_a_size() -> None:
    two = payload([b"a", b"b"]) + payload([b"c"])
    assert lines_of(two) == [b"a", b"b", b"c"]
    assert lines_of(b"") == []
    assert lines_of(two, 6) == [b"a", b"b", b"c"]
    for bad, most in (
        (two, 5),
        (two[:-9], 100),
        (b"plain", 100),
        (two + b"x", 100),
        (payload([bytes(1 << 20)]), 1 << 10),
    ):
        with pytest.raises(MalformedError, match="a page"):
            lines_of(bad, most)
