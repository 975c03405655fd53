"""Posts, datasets and events as the tests write them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
from isal import igzip

from protocol.jobs import Operation, Outcome
from services.indexer.posts import Document, document
from services.subscriber.consumer import Event
from storage.dataset.files.dataset import FileDataset
from storage.dataset.interface import Page, Record, RecordKind
from storage.dataset.receipts import ReceiptDraft
from storage.durable import PRIVATE


def line(identifier: int | str, account: str, text: str = "rain", **more: Any) -> bytes:
    """A post in the v1.1 form. `second`, `tags`, `lang`, `name`, `point` (latitude, longitude) may be given."""
    second = more.get("second", 1_346_072_925)
    post: dict[str, Any] = {
        "created_at": time.strftime("%a %b %d %H:%M:%S +0000 %Y", time.gmtime(second)),
        "id": identifier,
        "id_str": str(identifier),
        "text": text,
        "entities": {"hashtags": [{"text": tag, "indices": [0, 1]} for tag in more.get("tags", ())]},
        "lang": more.get("lang", "it"),
        "user": {"id_str": account, "screen_name": more.get("name", f"name{account}")},
    }
    if point := more.get("point"):
        post["coordinates"] = {"type": "Point", "coordinates": [point[1], point[0]]}
    return orjson.dumps(post)


def store(
    dataset: FileDataset, account: str, lines: Sequence[bytes], operation: Operation = Operation.TIMELINE
) -> None:
    """What a worker does at the end of a job: unite these lines with the account's file."""
    page = Page(tuple(Record(orjson.loads(one)["id_str"], one) for one in lines))
    digest = str(hash(tuple(lines)))
    dataset.merge(account, operation, (), page, ReceiptDraft("main", tokens=(digest,)))


def payload(lines: Iterable[bytes]) -> bytes:
    return igzip.compress(b"".join(one + b"\n" for one in lines))


def page(sequence: int, account: str, records: int, lines: Sequence[bytes] | None, operation: str = "T") -> Event:
    body = None if lines is None else payload(lines)
    return Event(sequence, "timeline.page", [account, records, "cursor", "token", 0, operation], body)


def done(
    sequence: int,
    account: str,
    records: int,
    lines: Sequence[bytes] | None,
    operation: str = "T",
    outcome: Outcome = Outcome.COMPLETE,
) -> Event:
    body = None if lines is None else payload(lines)
    return Event(sequence, "job.done", [operation, account, outcome.value, records, 0, "", "worker"], body)


def on_file(dataset: FileDataset) -> dict[str, Document]:
    """Every post of the dataset, by its id."""
    found = {}
    for kind, path in dataset.files():
        if kind is RecordKind.TIMELINE:
            for one in dataset.lines(path.stem, kind):
                post = document(one, path.stem)
                found[post.id] = post
    return found


def dataset_in(folder: Path) -> FileDataset:
    (folder / PRIVATE).mkdir(parents=True, exist_ok=True)  # as the master leaves it before the first page
    return FileDataset(folder)
