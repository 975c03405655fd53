"""The glossary's terms: each class that has the name of one is in the product, once."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from tests.checkout import ROOT

PACKAGES = ("protocol", "storage", "master", "worker", "services")
_ROW = re.compile(r"^\| ([a-z ]+) \| (.*) \|$", re.MULTILINE)
_CLASS = re.compile(r"`([A-Z]\w+)`")


def classes() -> dict[str, list[str]]:
    """The classes of the product by name, with the files that define one."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(path.relative_to(ROOT).as_posix())
    return found


def test_each_class_with_the_name_of_a_term_is_defined_once() -> None:
    rows = dict(_ROW.findall((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")))
    rows.pop("term")
    assert list(rows) == sorted(rows), "the terms stand in the order of the alphabet"
    found = classes()
    named = {name for meaning in rows.values() for name in _CLASS.findall(meaning)}
    named |= {"".join(word.capitalize() for word in term.split()) for term in rows} & found.keys()
    for name in sorted(named):
        assert len(found[name]) == 1, f"{name} is defined in {found[name] or 'no file'}"
