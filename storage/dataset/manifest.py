"""The manifest: one JSON file that describes a finished dataset, for users who receive it without the crawl.

It lists the seeds, the settings and the versions that made the dataset, its counts, and for every file its size, its
records and its sha256, from the receipts. A million files are written one by one, never held in memory together.
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
    """Write `manifest.json` beside the data, atomically; returns where it is.

    A value that JSON cannot represent (a path) is written as its text; the caller ensures that no secret is among
    the settings. Raises DatasetError when the disk fails.
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
