"""Compares the dataset with its receipts. Every file is read again, byte by byte and line by line.

Nothing is changed. What an unfinished crawl may legitimately leave (segments of unfinished jobs, data that wait to be
put in place) is distinguished from what is wrong.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.errors import DatasetError, MalformedError
from storage.dataset.files.dataset import FileDataset
from storage.dataset.files.naming import is_number
from storage.dataset.files.text import lines_of_file
from storage.dataset.interface import RecordKind, record_id
from storage.dataset.receipts import FileRecord, FileState
from storage.durable import PRIVATE, in_words


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of a file, which is named relative to the output."""

    file: str
    what: str


@dataclass(slots=True)
class Verification:
    """The result of `verify`. `leftovers` are no fault while a crawl is unfinished."""

    files: int = 0
    records: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "files": self.files,
            "records": self.records,
            "bytes": self.bytes,
            "problems": [{"file": problem.file, "what": problem.what} for problem in self.problems],
            "leftovers": self.leftovers,
        }


def verify(dataset: FileDataset, progress: Callable[[Verification], None] = lambda report: None) -> Verification:
    """Compare every file with its receipt and with itself. `progress` is called after each file."""
    report = Verification()
    receipted: set[str] = set()
    damaged: list[DatasetError] = []
    for record in dataset.records(damaged.append):
        if record.file is not None:
            receipted.add(record.file.name)
            _verify_record(dataset, record, record.file, report)
            progress(report)
    report.problems += [Problem(PRIVATE, str(error)) for error in damaged]
    for kind, path in dataset.files():
        name = path.relative_to(dataset.output).as_posix()
        if name not in receipted and not _has_record(dataset, path):
            report.problems.append(Problem(name, "there is no receipt for it"))
            _read(report, name, kind, path, None)
            progress(report)
    report.leftovers += [f"unfinished merge: {name}" for name in dataset.leftovers()]
    report.leftovers += [f"segment of lease {s.token}: {s.length:,} bytes" for s in dataset.segments()]
    return report


def _has_record(dataset: FileDataset, path: Path) -> bool:
    """Whether a file has a record by this time. An unreadable one has been reported already."""
    try:
        return dataset.record_at(path) is not None
    except DatasetError:
        return True


def _verify_record(dataset: FileDataset, record: FileRecord, state: FileState, report: Verification) -> None:
    """Check one file. A running crawl may replace it meanwhile: an apparent fault is then checked once more."""
    found = _verified(dataset, record, state)
    if found.problems:
        now = dataset.record_at(dataset.output / state.name)
        if now is not None and now.file is not None and now.generation > record.generation:
            found = _verified(dataset, now, now.file)
    report.files += found.files
    report.records += found.records
    report.bytes += found.bytes
    report.problems += found.problems


def _verified(dataset: FileDataset, record: FileRecord, state: FileState) -> Verification:
    report = Verification()
    path = dataset.waiting(record) or dataset.output / state.name
    if path.exists():
        _read(report, state.name, RecordKind("." + record.kind), path, state)
    else:
        report.problems.append(Problem(state.name, "there is a receipt for it, and no file"))
    return report


def _read(report: Verification, name: str, kind: RecordKind, path: Path, state: FileState | None) -> None:
    report.files += 1
    try:
        with in_words(f"read {path}"):
            size = path.stat().st_size
            report.bytes += size
            if state is not None:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                if (size, digest) != (state.bytes, state.sha256):
                    what = f"its {size:,} bytes are not the {state.bytes:,} of its receipt: their sha256 differs"
                    report.problems.append(Problem(name, what))
        records, wrong = _read_lines(kind, path)
    except DatasetError as error:
        report.problems.append(Problem(name, str(error)))
        return
    report.records += records
    report.problems += [Problem(name, what) for what in wrong]
    if state is not None and records != state.records:
        what = f"it has {records:,} records, and its receipt says {state.records:,}"
        report.problems.append(Problem(name, what))


def _read_lines(kind: RecordKind, path: Path) -> tuple[int, list[str]]:
    """The number of lines, and their faults: each once, with its count and its first place."""
    seen: set[str] = set()
    faults: Counter[str] = Counter()
    first: dict[str, int] = {}

    def fault(what: str, number: int) -> None:
        faults[what] += 1
        first.setdefault(what, number)

    before: int | None = None
    unordered_at = records = 0
    numeric = kind is RecordKind.TIMELINE
    for number, line in enumerate(lines_of_file(path), 1):
        records = number
        try:
            identifier = record_id(kind, line)
        except MalformedError:
            fault("that cannot be read as a record", number)
            continue
        if identifier in seen:
            fault("whose id stands in the file already", number)
        seen.add(identifier)
        if numeric and is_number(identifier):
            value = int(identifier)
            if before is not None and value > before and not unordered_at:
                unordered_at = number
            before = value
        else:
            numeric = False
    if numeric and unordered_at:
        fault("that is newer than the one above it", unordered_at)
    return records, [f"line {first[what]:,} is one of {faults[what]:,} {what}" for what in faults]


def stats(dataset: FileDataset) -> dict[str, Any]:
    """What is on file, from the receipts: files, records and bytes by kind, jobs by operation and outcome."""
    kinds = {kind.value[1:]: {"files": 0, "records": 0, "bytes": 0} for kind in RecordKind}
    outcomes: dict[str, dict[str, int]] = {}
    for record in dataset.records():
        if record.file is not None:
            totals = kinds[record.kind]
            totals["files"] += 1
            totals["records"] += record.file.records
            totals["bytes"] += record.file.bytes
        for operation, receipt in record.receipts.items():
            counted = outcomes.setdefault(operation.value, {})
            counted[receipt.outcome.value] = counted.get(receipt.outcome.value, 0) + 1
    return {"kinds": kinds, "outcomes": dict(sorted(outcomes.items()))}


def kinds_of(dataset: FileDataset, user: str) -> Iterator[RecordKind]:
    """The kinds that are on file for an account."""
    return (kind for kind in RecordKind if dataset.has(user, kind))
