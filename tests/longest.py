"""What is longest in the product: files, functions, and folders by their modules. A report, and no failure.

usage: python -m tests.longest
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.checkout import ROOT

PACKAGES = ("protocol", "storage", "master", "worker", "services")
SHOWN = 10
MAX_MODULES = 16
"""What an eye takes in of a folder."""


def main() -> None:
    """Print the longest of each."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    files, functions, folders = Counter[str](), Counter[str](), Counter[str]()
    for path in paths:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        files[name] = text.count("\n")
        if path.name != "__init__.py":
            folders[Path(name).parent.as_posix() + "/"] += 1
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                functions[f"{name}: {node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
    print(f"lines of the longest files: {told(files)}")
    print(f"lines of the longest functions: {told(functions)}")
    print(f"modules of the largest folders (an eye takes in {MAX_MODULES}): {told(folders)}")


def told(counts: Counter[str]) -> str:
    """The largest, each with its number."""
    return ", ".join(f"{name} {number}" for name, number in counts.most_common(SHOWN))


if __name__ == "__main__":
    main()
