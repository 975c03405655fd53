"""Pages and datasets for the tests to build with, and the plain model that a union is compared with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from storage.dataset.files.dataset import FileDataset
from storage.dataset.files.gzip_members import Chunk, GzipMembers, encode, encode_page
from storage.dataset.files.merge import Piece
from storage.dataset.files.naming import is_number
from storage.dataset.interface import Page, Record, RecordKind
from storage.dataset.receipts import ReceiptDraft

USER = "22013880"


def post(identifier: str, version: str = "", words: int = 3) -> Record:
    """A post of `words` words; `version` tells two posts with one id apart."""
    text = " ".join(f"word{n}" for n in range(words))
    return Record(identifier, json.dumps({"id_str": identifier, "version": version, "text": text}).encode())


def posts(identifiers: Iterable[int | str], version: str = "", cursor: str = "", words: int = 3) -> Page:
    """A page of posts."""
    return Page(tuple(post(str(identifier), version, words) for identifier in identifiers), cursor)


def followers(identifiers: Iterable[int | str], cursor: str = "") -> Page:
    """A page of a follower list."""
    return Page(tuple(Record(str(i), str(i).encode()) for i in identifiers), cursor)


def draft(*tokens: str) -> ReceiptDraft:
    """What a worker would say of a complete job."""
    return ReceiptDraft("main", tokens=tokens, started="2026-01-01T00:00:00Z", finished="2026-01-01T00:01:00Z")


def chunks(kind: RecordKind, pages: Sequence[Page]) -> list[Chunk]:
    """The pages as the members that they are stored in."""
    return [chunk for page in pages for chunk in GzipMembers.of_bytes("a page", encode_page(kind, page)).chunks()]


def written(pieces: Iterable[Piece]) -> bytes:
    """The bytes of the file that these pieces make."""
    return b"".join(
        piece.raw() if isinstance(piece, Chunk) else encode([i for i, _ in piece], [line for _, line in piece])
        for piece in pieces
    )


def modelled(kind: RecordKind, fresh: Sequence[Page], old: Sequence[bytes]) -> list[bytes]:
    """The union, computed in the most obvious way."""
    found: dict[str, bytes] = {}
    for page in fresh:
        numeric = kind is RecordKind.TIMELINE and all(is_number(record.id) for record in page.records)
        for record in sorted(page.records, key=lambda r: -int(r.id)) if numeric else page.records:
            found.setdefault(record.id, record.line)
    for line in old:
        identifier = line.decode() if kind is RecordKind.FOLLOWERS else json.loads(line)["id_str"]
        found.setdefault(identifier, line)
    if kind is RecordKind.TIMELINE and all(map(is_number, found)):
        return [found[identifier] for identifier in sorted(found, key=int, reverse=True)]
    return list(found.values())


def zcat(path: Path) -> list[bytes]:
    """What the system's own zcat makes of a file."""
    return subprocess.run(["zcat", str(path)], check=True, capture_output=True, timeout=20).stdout.splitlines()


def stored_ids(dataset: FileDataset, kind: RecordKind = RecordKind.TIMELINE, user: str = USER) -> list[str]:
    """The ids on file, in their order."""
    lines = dataset.lines(user, kind)
    return [line.decode() if kind is RecordKind.FOLLOWERS else json.loads(line)["id_str"] for line in lines]
