"""The classes of the transitions and the handlers of the script speak of the same fields, in the same order."""

from __future__ import annotations

import re
from importlib import resources
from typing import get_args

import pytest

from storage.ledger.transitions import (
    KINDS,
    Analysis,
    Discoveries,
    LeaseTransition,
    LogEntry,
    NewJob,
    Remember,
    Transition,
    WithoutReceipt,
    encoded,
)

SCRIPT = resources.files("storage.ledger").joinpath("ledger.lua").read_text(encoding="utf-8")


def names(words: str) -> list[str]:
    return words.split(", ")


@pytest.mark.parametrize("kind", KINDS, ids=KINDS.get)
def test_a_handler_unpacks_the_fields_of_its_class(kind: type[Transition]) -> None:
    found = re.search(rf"^function handlers\.{KINDS[kind]}\(t\)\n  local (.*) = unpack\(t, 2, (\d+)\)$", SCRIPT, re.M)
    assert found is not None
    assert names(found[1]) == list(kind._fields)
    assert int(found[2]) == 1 + len(kind._fields)


def test_the_script_has_a_handler_for_each_kind_and_no_other() -> None:
    kinds = list(KINDS.values())
    assert sorted(re.findall(r"^function handlers\.(\w+)", SCRIPT, re.M)) == sorted(kinds)
    assert len(set(kinds)) == len(KINDS)


def test_the_script_knows_which_transitions_are_of_a_lease() -> None:
    found = re.search(r"^local OF_A_LEASE = \{ (.*) \}$", SCRIPT, re.M)
    assert found is not None
    assert set(names(found[1])) == {f"{KINDS[kind]} = true" for kind in get_args(LeaseTransition)}


@pytest.mark.parametrize(
    ("part", "of"),
    [(LogEntry, "entry"), (Discoveries, "found"), (Analysis, "analysis"), (WithoutReceipt, "receipt"), (NewJob, "job")],
)
def test_a_part_is_unpacked_by_the_names_of_its_class(part: type[tuple[object, ...]], of: str) -> None:
    fields_of_part = getattr(part, "_fields")  # noqa: B009
    assert f"local {', '.join(fields_of_part)} = unpack({of}, 1, {len(fields_of_part)})" in SCRIPT


def test_a_transition_goes_as_its_kind_and_its_fields() -> None:
    assert encoded(Remember("depth", "2")) == ("keep", "depth", "2")
