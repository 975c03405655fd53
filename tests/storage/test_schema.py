"""The fields of the networks are named in `storage/schema.py` alone."""

from __future__ import annotations

import ast

import pytest

from storage import schema
from tests.checkout import ROOT

READERS = ["services/indexer/posts.py", "services/lookup/profiles.py", "services/lookup/page.py"]
OURS = {"text", "name", "lang", "language", "location", "hashtags", "value", "user", "account", "id"}
"""Fields that what we make of a post or a profile has too."""


def names_of_networks() -> set[str]:
    values = [value for name, value in vars(schema).items() if name.isupper()]
    return {one for value in values for one in ([value] if isinstance(value, str) else value)} - OURS


@pytest.mark.parametrize("reader", READERS)
def test_who_reads_posts_and_profiles_takes_their_fields_from_the_schema(reader: str) -> None:
    tree = ast.parse((ROOT / reader).read_text(encoding="utf-8"))
    asked = {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and not (isinstance(call.func, ast.Name) and call.func.id == "Document")
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    assert not asked & names_of_networks()
