"""Shell completion of values. Nothing here validates a value: the reader of the settings does, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

PATH = click.Path(readable=False)
"""Any text, completed by file names."""


class ChoiceOf(click.ParamType[Any]):
    """Any text, completed by some words."""

    name = "text"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The words that begin with the incomplete one, in upper or lower case."""
        return [CompletionItem(word) for word in self.words if word.lower().startswith(incomplete.lower())]
