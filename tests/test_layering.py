"""The house stands on its floors: who may import whom, and what every file must be."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from tests.checkout import ROOT

MAY_IMPORT: dict[str, frozenset[str]] = {
    "protocol": frozenset(),
    "storage": frozenset({"protocol"}),
    "master": frozenset({"protocol", "storage"}),
    "worker": frozenset({"protocol", "storage"}),
    "services": frozenset({"protocol", "storage"}),
}
"""What each top-level package may import of ours beside itself."""

MASTER_FLOORS: Final = (
    frozenset({"policy", "ledger_health", "ledger_thread", "dropped_frames", "finishing", "verdict"}),
    frozenset({"frontier"}),
    frozenset({"events"}),
    frozenset({"dispatch"}),
    frozenset({"startup"}),
    frozenset({"leadership"}),
    frozenset({"audit"}),
    frozenset({"member"}),
    frozenset({"admin"}),
    frozenset({"loop"}),
    frozenset({"process"}),
    frozenset({"crawl"}),
    frozenset({"rehearsal"}),
    frozenset({"commands"}),
)
"""The rooms of `master/` and its own modules, from the ground up. What stands on one floor knows nothing of its
neighbours, nor of what is above."""

MAX_CONSTRUCTOR_ARGUMENTS = 12
"""What needs more holds two things."""
DOCUMENTS = {"Receipt"}
"""A file whose keys are the fields of a class, each of them given."""

SHUNNED = ("manager", "handler", "util", "utils", "helper", "helpers", "common", "misc")
"""Names that say nothing about what is inside."""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


PRODUCT = sources(*MAY_IMPORT)
EVERYTHING = [ROOT / "tmatic_starting.py", *PRODUCT, *sources("tests", "benchmarks")]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in EVERYTHING}
AS_THEY_CAME = {"benchmarks/bench_dramatiq.py", "benchmarks/dispatch_limit.py"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(tree: ast.AST) -> set[str]:
    """What a module imports anywhere, also inside functions: `package.module`, and `package.module.name` beside it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def modules() -> dict[str, set[str]]:
    """Every module of the product, and which others it imports."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PRODUCT}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    return {name: imported(TREES[path]) & names.keys() - {name} for name, path in names.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A way through a graph that leads back to where it began; [] without one."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := walk(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, []))), [])


def floor(module: str) -> int | None:
    """On which floor of `master/` a module is."""
    return next(
        (n for n, rooms in enumerate(MASTER_FLOORS) if module.split(".")[1:2] and module.split(".")[1] in rooms), None
    )


def constructor_arguments(node: ast.ClassDef) -> int:
    """How many arguments the constructor of a class takes; of a data class, those that a caller must give."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            said = item.args
            return len(said.posonlyargs) + len(said.args) + len(said.kwonlyargs) - 1
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return 0
    return sum(isinstance(item, ast.AnnAssign) and item.value is None for item in node.body)


def test_a_module_imports_only_from_the_floors_below() -> None:
    for path in PRODUCT:
        package = path.relative_to(ROOT).parts[0]
        reached = {name.partition(".")[0] for name in imported(TREES[path])} & set(MAY_IMPORT) - {package}
        above = reached - MAY_IMPORT[package]
        assert not above, f"{named(path)} imports {', '.join(sorted(above))}"


def test_in_the_master_too() -> None:
    for name, others in modules().items():
        if name.startswith("master."):
            here = floor(name)
            assert here is not None, f"{name} stands on no floor of MASTER_FLOORS"
            room = name.split(".")[1]
            for other in others:
                if other.startswith("master.") and other.split(".")[1] != room:
                    there = floor(other)
                    assert there is not None and there < here, f"{name} imports {other}, which is not below it"


def test_no_imports_run_in_a_circle() -> None:
    assert not circle(modules())
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_no_product_module_imports_tests_or_pickles() -> None:
    for path in PRODUCT:
        packages = {name.partition(".")[0] for name in imported(TREES[path])}
        assert not packages & {"tests", "benchmarks", "pickle", "marshal", "shelve"}, named(path)


def test_a_file_says_what_it_is() -> None:
    for path in EVERYTHING:
        assert not TREES[path].body or ast.get_docstring(TREES[path]), f"{named(path)} does not say what it is"
        assert path.stem not in SHUNNED or named(path) in AS_THEY_CAME, f"{named(path)} has a name that says nothing"


def test_no_constructor_takes_more_than_a_person_can_keep_in_mind() -> None:
    for path in PRODUCT:
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.ClassDef) and node.name not in DOCUMENTS:
                count = constructor_arguments(node)
                assert count <= MAX_CONSTRUCTOR_ARGUMENTS, f"{named(path)}: {node.name} takes {count} arguments"


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


def test_every_text_has_an_encoding_that_does_not_hang_on_the_locale() -> None:
    for path in PRODUCT:
        lines = without_encoding(TREES[path])
        assert not lines, f"{named(path)} names no encoding in lines {lines}"


OF_FILES = {"benchmarks/pages.py"}
"""What measures the backend in files itself."""


def test_only_storage_names_a_backend_of_the_dataset() -> None:
    outside = [path for path in [*PRODUCT, *sources("benchmarks")] if path.relative_to(ROOT).parts[0] != "storage"]
    naming = {named(path) for path in outside if "FileDataset" in path.read_text(encoding="utf-8")}
    assert naming <= OF_FILES, f"{', '.join(sorted(naming - OF_FILES))}: open_dataset is the door"
