"""The sockets of workers, tools and subscribers."""

from __future__ import annotations

from protocol.transport.sockets import routing_id
from tests.checkout import ROOT


def test_a_routing_id_never_begins_with_the_byte_that_zeromq_keeps_for_itself() -> None:
    drawn = {routing_id() for _ in range(20_000)}
    assert len(drawn) == 20_000
    assert {len(one) for one in drawn} == {16}
    assert {one[0] for one in drawn} == set(range(1, 256))


def test_no_process_draws_a_routing_id_in_another_way() -> None:
    places = [path for folder in ("master", "protocol", "services", "worker") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in places if "secrets.token_bytes" in path.read_text()] == ["sockets.py"]
