"""What the tests fetch once and keep: folders outside the checkout, each named for what it holds, made by one process
while the others wait."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from storage.locks import locked
from tests.waiting import until

FETCH_S = 900.0
"""How long one may fetch, and the others wait for it."""


def cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder of that name; `fetch` fills a new one, which is kept when it returned."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twittomatic"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    lock = until(lambda: locked(cache / f"{name}.lock", name), FETCH_S)
    assert lock is not None
    with lock:
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as beside:
                made = Path(beside) / "made"
                made.mkdir()
                made.chmod(0o755)
                fetch(made)
                made.rename(folder)
    return folder
