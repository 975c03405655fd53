"""Opens the dataset: `--output` names its backend.

A path is a directory of files. `SCHEME://…` is a backend that is registered for the scheme: by an installed package,
as an entry point of the group `twittomatic.datasets` whose name is the scheme, or by `register_dataset`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from protocol.errors import UsageError
from protocol.settings.settings import Settings
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Dataset

GROUP = "twittomatic.datasets"

OpenDataset = Callable[[Settings], Dataset]
"""Creates the dataset object for the settings. It writes nothing, and raises UsageError for invalid settings."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""A URL as a path, of which pathlib has merged the two slashes into one."""

_registered: dict[str, OpenDataset] = {}


def register_dataset(scheme: str, opener: OpenDataset) -> None:
    """Make this process open `scheme://…` with `opener`. It takes precedence over an entry point of the same name."""
    _registered[scheme.lower()] = opener


def scheme_of(output: Path) -> str | None:
    """The scheme of an output that is a URL, in lower case; None for a path."""
    found = _URL.match(str(output))
    return found[1].lower() if found else None


def url_of(output: Path) -> str:
    """An output that is a URL, with both its slashes."""
    return _URL.sub(r"\1://", str(output), count=1)


def open_dataset(settings: Settings) -> Dataset:
    """The dataset that the settings name. Nothing is written. Raises UsageError for an unknown form."""
    scheme = scheme_of(settings.output_directory)
    if scheme is None:
        return FileDataset(
            settings.output_directory, temporary=settings.temporary_directory, compress=settings.use_compression
        )
    opener = _registered.get(scheme) or _installed(scheme)
    if opener is None:
        raise UsageError(f"--output: {scheme}:// is no form of dataset that is known here: name a directory")
    return opener(settings)


def _installed(scheme: str) -> OpenDataset | None:
    from importlib.metadata import entry_points  # only here: its import takes longer than all of this module's

    for point in entry_points(group=GROUP, name=scheme):
        try:
            opener: OpenDataset = point.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(f"--output: the backend for {scheme}:// cannot be loaded: {error}") from error
        return opener
    return None
