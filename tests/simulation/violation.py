"""What the simulation raises."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Violation(Exception):
    """A promise was broken."""

    words: str
