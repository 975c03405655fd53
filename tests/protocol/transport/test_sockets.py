"""What the sockets of masters and workers are called."""

from __future__ import annotations

from protocol.transport.sockets import routing_id


def test_a_routing_id_is_new_each_time_and_none_of_libzmqs_own() -> None:
    ids = [routing_id() for _ in range(1000)]
    assert len(set(ids)) == 1000 and all(len(one) == 16 and one[0] for one in ids)
