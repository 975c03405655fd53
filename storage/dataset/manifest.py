"""The manifest: one JSON file that says what a finished dataset is, for whoever receives it without the crawl.

It names the seeds, the settings and the versions that made the dataset, its counts, and for every file its size, its
records and its sha256, as the receipts have them. A million files are written one by one, never held together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import orjson

from protocol.text import plain
from storage.dataset.interface import Dataset

NAME = "manifest.json"

_FORMAT = 1


def write_manifest(
    dataset: Dataset,
    *,
    settings: Mapping[str, Any],
    seeds: Sequence[str],
    versions: Mapping[str, str],
    counts: Mapping[str, int],
) -> str:
    """Write `manifest.json` beside the data, whole or not at all; returns where it is.

    What JSON cannot say (a path) is written as its text; whoever calls sees to it that no secret is among the
    settings. Raises DatasetError when the disk refuses.
    """
    dataset.require_there()
    head = {
        "format": _FORMAT,
        "counts": counts,
        "seeds": [plain(seed) for seed in seeds],
        "settings": {name: plain(value) if isinstance(value, str) else value for name, value in settings.items()},
        "versions": versions,
    }
    return dataset.keep(NAME, lambda file: _write(file, head, dataset))


def _write(file: BinaryIO, head: Mapping[str, Any], dataset: Dataset) -> None:
    file.write(orjson.dumps(head, default=str, option=orjson.OPT_SORT_KEYS)[:-1] + b',"files":{')
    comma = b"\n"
    for record in dataset.records():
        state = record.file
        if state is not None:
            value = {"bytes": state.bytes, "records": state.records, "sha256": state.sha256}
            file.write(comma + orjson.dumps(state.name) + b":" + orjson.dumps(value))
            comma = b",\n"
    file.write(b"\n}}\n")
