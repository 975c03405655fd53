"""The bytes that `protocol/vectors.json` shows are those that every process sends, and the document shows the same."""

from __future__ import annotations

import json
import re
from typing import Any

import msgpack
import pytest

from protocol import vectors
from protocol.errors import MalformedError
from protocol.messages import TYPES, VERSION, decode, encode
from tests.checkout import ROOT
from tests.protocol import sixty_line_worker

DOCUMENT = ROOT / "docs" / "protocol.md"


def with_bytes(said: dict[str, Any]) -> Any:
    return bytes.fromhex(said["hex"]) if said.keys() == {"hex"} else said


KEPT: Any = json.loads(vectors.FILE.read_text(), object_hook=with_bytes)
EXAMPLES: list[Any] = KEPT["examples"]
OTHER_VERSIONS: list[Any] = KEPT["other_versions"]
REFUSED: list[Any] = KEPT["refused"]


def frames(example: Any) -> list[bytes]:
    return [bytes.fromhex(frame) for frame in example["frames"]]


def test_the_file_is_what_its_generator_writes() -> None:
    assert vectors.FILE.read_text() == vectors.document(), "say python -m protocol.vectors"


def test_every_message_type_has_an_example() -> None:
    assert {example["type"].encode() for example in EXAMPLES} == set(TYPES.values())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_an_example_is_encoded_to_its_bytes_and_decoded_from_them(example: Any) -> None:
    message = vectors.EXAMPLES[example["name"]]
    assert encode(message) == frames(example)
    assert decode(frames(example)) == message


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_msgpack_alone_makes_and_reads_the_same_bytes(example: Any) -> None:
    assert msgpack.packb(example["body"]) == frames(example)[2]
    assert msgpack.unpackb(frames(example)[2]) == example["body"]
    assert values(example["fields"]) == example["body"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_the_worker_from_the_document_makes_and_reads_the_same_bytes(example: Any) -> None:
    assert sixty_line_worker.frames(example["type"], *example["body"]) == frames(example)
    assert sixty_line_worker.message(frames(example)) == (example["type"], example["body"])


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused["name"])
def test_a_malformed_message_is_refused_in_words_and_the_vector_names_the_rule(refused: Any) -> None:
    with pytest.raises(MalformedError) as error:
        decode(frames(refused))
    assert str(error.value)
    assert refused["why"]


@pytest.mark.parametrize("other", OTHER_VERSIONS, ids=lambda other: other["name"])
def test_a_message_of_another_version_is_read_as_far_as_it_is_known(other: Any) -> None:
    _, message = vectors.OTHER_VERSIONS[other["name"]]
    assert decode(frames(other)) == message
    assert values(other["fields"]) == msgpack.unpackb(msgpack.packb(message))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_fields_of_a_later_version_of_a_message_are_skipped(example: Any) -> None:
    version, kind, _ = frames(example)
    grown = msgpack.packb([*example["body"], {"a": ["later", "field"]}])
    assert decode([version, kind, grown]) == vectors.EXAMPLES[example["name"]]


def test_the_document_shows_the_bytes_of_the_examples() -> None:
    shown = re.findall(r"^ *(01) ([0-9a-f]+) ([0-9a-f]+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(shown) >= 5
    for said in shown:
        assert [*said] in [example["frames"] for example in EXAMPLES], said


def test_the_document_names_every_message_and_every_field() -> None:
    text = DOCUMENT.read_text()
    for example in EXAMPLES:
        assert f"### {example['type']}" in text
        for name in names(example["fields"]):
            assert f"`{name}`" in text, (example["type"], name)


def test_the_version_is_one_byte() -> None:
    assert bytes([KEPT["version"]]) == VERSION == bytes([1])


def values(named: Any) -> Any:
    if isinstance(named, dict):
        return [values(value) for value in named.values()]
    return [values(value) for value in named] if isinstance(named, list) else named


def names(named: Any) -> set[str]:
    if isinstance(named, dict):
        return set(named).union(*map(names, named.values()))
    return set().union(*map(names, named)) if isinstance(named, list) else set()
