"""The services that can be crawled, by name. A new one is one more file, and one more line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.settings.settings import Settings
from worker.sources.source import Source
from worker.sources.twitter import Twitter

SOURCES: Final[dict[str, Callable[[Settings], Source]]] = {"twitter": Twitter}

DEFAULT: Final = "twitter"
