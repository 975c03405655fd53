"""The commands' own part of `docs/reference.md`. `python -m tests.docs.reference_page` renews it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.checkout import ROOT

PAGE = ROOT / "docs" / "reference.md"
BEGIN = "<!-- The commands' own words, by `python -m tests.docs.reference_page`. Change them there. -->\n"
END = "<!-- Here end the commands' own words. -->\n"

MODULES = {
    "tmatic-crawl": "master.commands.crawl",
    "tmatic-rehearse": "master.commands.rehearse",
    "tmatic-master": "master.commands.master",
    "tmatic-worker": "worker.command",
    "tmatic-data": "storage.data_command",
    "tmatic-emulator": "services.emulator.command",
    "tmatic-events": "services.subscriber.command",
    "tmatic-stats": "services.stats.command",
    "tmatic-lookup": "services.lookup.command",
    "tmatic-indexer": "services.indexer.command",
    "tmatic-monitor": "services.monitor.command",
}
_SUBCOMMAND = re.compile(r"^  ([a-z-]+)  +\S", re.MULTILINE)


def _help(words: tuple[str, ...]) -> str:
    """What a command says of itself, in lines of 100 characters."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TMATIC_")}
    said = subprocess.run(
        [sys.executable, "-m", MODULES[words[0]], *words[1:], "--help"],
        env={**environment, "COLUMNS": "100", "LANG": "C.UTF-8"},
        cwd=PAGE.parent.parent,
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
        text=True,
    )
    return "\n".join(line.rstrip() for line in said.stdout.splitlines()) + "\n"


def commands() -> list[tuple[str, str]]:
    """Every command and subcommand, with its help."""
    with ThreadPoolExecutor(2) as threads:
        texts: dict[tuple[str, ...], str] = {}
        level: list[tuple[str, ...]] = [(name,) for name in MODULES]
        while level:
            texts |= zip(level, threads.map(_help, level), strict=True)
            level = [(*words, sub) for words in level for sub in _subcommands(texts[words])]
    order = {name: number for number, name in enumerate(MODULES)}
    lines = sorted(texts, key=lambda words: order[words[0]])  # a command before its own, those of a group together
    return [(" ".join(words), texts[words]) for words in _nested(lines)]


def _subcommands(text: str) -> list[str]:
    return _SUBCOMMAND.findall(text.partition("\nCommands:\n")[2])


def _nested(lines: list[tuple[str, ...]], under: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Each command with what is below it, before the next one."""
    found: list[tuple[str, ...]] = []
    for words in lines:
        if words[:-1] == under:
            found += [words, *_nested(lines, words)]
    return found


def page(before: str) -> str:
    """The page with its generated part renewed."""
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    parts = [f"### {name}\n\n```text\n{text}```\n" for name, text in commands()]
    return head + BEGIN + "\n" + "\n".join(parts) + "\n" + END + tail


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
