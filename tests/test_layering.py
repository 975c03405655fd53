"""The house stands on its floors: who may import whom, and what every file must be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.checkout import ROOT

MAY_IMPORT: dict[str, frozenset[str]] = {
    "protocol": frozenset(),
    "storage": frozenset({"protocol"}),
    "master": frozenset({"protocol", "storage"}),
    "worker": frozenset({"protocol", "storage"}),
    "services": frozenset({"protocol", "storage"}),
}
"""What each top-level package may import of ours beside itself."""

MOST_LINES = 400
"""A file that needs more holds two things."""

SHUNNED = ("manager", "handler", "util", "utils", "helper", "helpers", "common", "misc")
"""Names that say nothing about what is inside."""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


PRODUCT = sources(*MAY_IMPORT)
EVERYTHING = [ROOT / "tmatic_starting.py", *PRODUCT, *sources("tests", "benchmarks")]
AS_THEY_CAME = {"benchmarks/bench_dramatiq.py", "benchmarks/dispatch_limit.py"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_packages(tree: ast.AST) -> set[str]:
    """The top-level packages that a module imports anywhere, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_a_module_imports_only_from_the_floors_below(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    reached = imported_packages(ast.parse(path.read_text(encoding="utf-8"))) & set(MAY_IMPORT) - {package}
    assert reached <= MAY_IMPORT[package], f"{named(path)} imports {', '.join(sorted(reached - MAY_IMPORT[package]))}"


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_no_product_module_imports_tests_or_pickles(path: Path) -> None:
    assert not imported_packages(ast.parse(path.read_text(encoding="utf-8"))) & {
        "tests",
        "benchmarks",
        "pickle",
        "marshal",
        "shelve",
    }


@pytest.mark.parametrize("path", EVERYTHING, ids=named)
def test_a_file_says_what_it_is_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text or ast.get_docstring(ast.parse(text)), f"{named(path)} does not say what it is"
    assert text.count("\n") <= MOST_LINES, f"{named(path)} has more than {MOST_LINES} lines"
    if named(path) not in AS_THEY_CAME:
        assert path.stem not in SHUNNED, f"{named(path)} has a name that says nothing"


TEXT_FILES = {"read_text", "write_text", "TextIOWrapper", "NamedTemporaryFile"}
TEXT_MODES = {"text", "universal_newlines"}


def without_encoding(tree: ast.AST) -> list[int]:
    """The lines of calls that read or write text in whatever encoding the locale has.

    A linter knows the types of few objects: `resources.files(…).read_text()` is one that it passes over.
    """
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        call.lineno
        for call in calls
        if (isinstance(call.func, ast.Attribute) and call.func.attr in TEXT_FILES)
        or any(word.arg in TEXT_MODES and isinstance(word.value, ast.Constant) for word in call.keywords)
        if not any(word.arg == "encoding" for word in call.keywords)
    ]


def test_a_call_without_an_encoding_is_found() -> None:
    assert without_encoding(ast.parse("x.read_text()\nrun(y, text=True)\nx.read_text(encoding='utf-8')")) == [1, 2]


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_every_text_has_an_encoding_that_does_not_hang_on_the_locale(path: Path) -> None:
    lines = without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    assert not lines, f"{named(path)} names no encoding in lines {lines}"
